"""Artifacts on disk, and the mirror of the registry beside them, from which it can be restored.

```
<path>/models/<name>/<version>/     an artifact: files and skysail.json
<path>/registry/registry.json       everything registered, and the history of current versions
```
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import zipfile
from collections.abc import AsyncIterable
from pathlib import Path
from typing import IO

import msgspec

from skysail.topics.artifacts import Manifest, verify
from skysail.topics.errors import ArtifactError, ConflictError, PayloadTooLargeError
from skysail.topics.names import check_name
from skysail.topics.specs import ApplicationSpec, Link, ModelSpec
from skysail.topics.store.registry import RegistrySnapshot

__all__ = ["ArtifactStore", "Mirror"]

_LARGEST_BYTES = 8 * 1024**3


class Mirror(msgspec.Struct, frozen=True):
    """A registry on disk. `history` is the versions that were current, the newest last, by model."""

    apps: tuple[ApplicationSpec, ...] = ()
    models: tuple[ModelSpec, ...] = ()
    links: tuple[Link, ...] = ()
    current: dict[str, str] = {}
    history: dict[str, list[str]] = {}

    def snapshot(self) -> RegistrySnapshot:
        """As the registry's own picture."""
        models: dict[str, dict[str, ModelSpec]] = {}
        for spec in self.models:
            models.setdefault(spec.name, {})[spec.version] = spec
        return RegistrySnapshot(
            apps={app.name: app for app in self.apps},
            models=models,
            links={link.app: link for link in self.links},
            current=self.current,
            whole=True,
        )


class ArtifactStore:
    """Keeps artifacts and the registry's mirror in a folder. Blocking: call it in a thread.

    Args:
        path: the folder; made on first use.
        key: that signs artifacts, or None.
        largest_bytes: bound on an artifact, packed and unpacked.
    """

    def __init__(self, path: Path, key: bytes | None, largest_bytes: int = _LARGEST_BYTES) -> None:
        self._path = path
        self._key = key
        self._largest_bytes = largest_bytes

    def folder(self, name: str, version: str) -> Path:
        """Where an artifact is, or will be. Raises InvalidNameError for what is no name."""
        return self._path / "models" / check_name("model name", name) / check_name("model version", version)

    def has(self, name: str, version: str) -> bool:
        """Whether there is an artifact."""
        return self.folder(name, version).is_dir()

    async def receive(self, name: str, version: str, chunks: AsyncIterable[bytes]) -> Manifest:
        """Take in a zip, check it, and put it in its place in one step.

        Raises:
            ConflictError: when there is an artifact already; versions are immutable.
            ArtifactError, SignatureError: when it is not a sound artifact of that name and version.
            PayloadTooLargeError: when it is larger than the bound, packed or unpacked.
        """
        folder = self.folder(name, version)
        if folder.exists():
            message = f"model {name!r} has an artifact of version {version!r} already; versions are immutable"
            raise ConflictError(message)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._path) as packed:
            await self._spool(chunks, packed)
            unpacked = Path(tempfile.mkdtemp(prefix=".incoming-", dir=self._path))
            try:
                return await asyncio.to_thread(self._put_in_place, packed, unpacked, folder)
            finally:
                shutil.rmtree(unpacked, ignore_errors=True)

    def _put_in_place(self, packed: IO[bytes], unpacked: Path, folder: Path) -> Manifest:
        self._unpack(packed, unpacked)
        manifest = self._check(unpacked, folder.parent.name, folder.name)
        unpacked.chmod(0o755)
        unpacked.rename(folder)
        return manifest

    async def _spool(self, chunks: AsyncIterable[bytes], packed: IO[bytes]) -> None:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > self._largest_bytes:
                message = f"the artifact is larger than {self._largest_bytes} bytes"
                raise PayloadTooLargeError(message)
            packed.write(chunk)

    def _unpack(self, packed: IO[bytes], folder: Path) -> None:
        try:
            with zipfile.ZipFile(packed) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > self._largest_bytes:
                    message = f"the artifact is larger than {self._largest_bytes} bytes when unpacked"
                    raise PayloadTooLargeError(message)
                for entry in archive.infolist():
                    target = (folder / entry.filename).resolve()
                    if not target.is_relative_to(folder.resolve()):
                        message = f"the artifact holds {entry.filename!r}, which lies outside of it"
                        raise ArtifactError(message)
                archive.extractall(folder)
        except zipfile.BadZipFile as error:
            message = f"the artifact is not a zip file: {error}"
            raise ArtifactError(message) from error

    def _check(self, folder: Path, name: str, version: str) -> Manifest:
        manifest = verify(folder, self._key)
        if (manifest.name, manifest.version) != (name, version):
            message = f"the artifact is of {manifest.name}/{manifest.version}, not of {name}/{version}"
            raise ArtifactError(message)
        return manifest

    def manifest(self, name: str, version: str) -> Manifest:
        """Verify the artifact in place. Raises ArtifactError, SignatureError."""
        return self._check(self.folder(name, version), name, version)

    def remove(self, name: str, version: str) -> None:
        """Remove an artifact, if it is there."""
        shutil.rmtree(self.folder(name, version), ignore_errors=True)

    # ------------------------------------------------------------------------------------------------ the mirror

    @property
    def _mirror_path(self) -> Path:
        return self._path / "registry" / "registry.json"

    def load_mirror(self) -> Mirror:
        """What was registered when the mirror was last written; empty when it never was.

        Raises:
            ArtifactError: when the file cannot be read; it is never replaced by an empty one.
        """
        try:
            return msgspec.json.decode(self._mirror_path.read_bytes(), type=Mirror)
        except FileNotFoundError:
            return Mirror()
        except msgspec.DecodeError as error:
            message = f"{self._mirror_path} cannot be read: {error}"
            raise ArtifactError(message) from error

    def save_mirror(self, mirror: Mirror) -> None:
        """Write the mirror, in one step."""
        self._mirror_path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._mirror_path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(mirror, order="sorted")))
        fresh.replace(self._mirror_path)
