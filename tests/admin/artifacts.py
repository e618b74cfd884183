"""Artifacts for tests: folders that are sealed, and zips of all kinds."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from skysail.topics.artifacts import Manifest, seal
from skysail.topics.specs import InputType

__all__ = ["KEY", "chunks_of", "sealed", "zip_of"]

KEY = b"the signing key"


def sealed(
    folder: Path, name: str = "m", version: str = "1", *, key: bytes | None = KEY, content: bytes = b"a pickle"
) -> Manifest:
    """Make a small artifact of strings in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "func.pkl").write_bytes(content)
    manifest = Manifest(
        name=name, version=version, framework="python-closure", entry_point="func.pkl", input_type=InputType.STRINGS
    )
    return seal(folder, manifest, key)


def zip_of(folder: Path | None, extra: Mapping[str, bytes] | None = None) -> bytes:
    """A zip of a folder's files, and of entries with any names."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")) if folder is not None else ():
            archive.write(path, path.relative_to(folder or path).as_posix())
        for name, data in (extra or {}).items():
            archive.writestr(name, data)
    return packed.getvalue()


async def chunks_of(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    """As a request's stream gives them."""
    for start in range(0, len(data), size):
        yield data[start : start + size]
