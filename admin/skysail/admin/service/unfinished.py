"""Deployments that are under way, noted on disk: one that is cut off for good is undone by the process that follows."""

from __future__ import annotations

from pathlib import Path

from skysail.topics.names import check_name

__all__ = ["Unfinished"]


class Unfinished:
    """One empty file for each deployment, ``<artifacts path>/deploying/<namespace>.<model>.<version>``. Blocking.

    Args:
        artifacts: the artifacts path.
        namespace: whose deployments these are.
    """

    def __init__(self, artifacts: Path, namespace: str) -> None:
        self._folder = artifacts / "deploying"
        self._namespace = namespace

    def _file(self, name: str, version: str) -> Path:
        parts = (self._namespace, check_name("model name", name), check_name("model version", version))
        return self._folder / ".".join(parts)  # names hold no dots

    def begin(self, name: str, version: str) -> None:
        """Note that a deployment has begun. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file(name, version).touch()

    def end(self, name: str, version: str) -> None:
        """It has come to an end, good or bad."""
        self._file(name, version).unlink(missing_ok=True)

    def has(self, name: str, version: str) -> bool:
        """Whether a deployment of this version has begun and not ended."""
        return self._file(name, version).exists()

    def all(self) -> list[tuple[str, str]]:
        """Model and version of each deployment that has begun and not ended."""
        files = sorted(self._folder.glob(f"{self._namespace}.*.*")) if self._folder.is_dir() else []
        return [(name, version) for _, name, version in (file.name.split(".") for file in files)]
