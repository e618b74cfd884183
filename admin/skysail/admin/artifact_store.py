"""Artifacts on disk, ``<artifacts path>/models/<name>/<version>/``: taken in whole and sound, or not at all."""

from __future__ import annotations

import asyncio
import lzma
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from skysail.topics.artifacts import Manifest, verify
from skysail.topics.errors import ArtifactError, ManagerError, PayloadTooLargeError, SkysailError
from skysail.topics.names import check_name

__all__ = ["ArtifactStore", "Incoming"]

_LARGEST_BYTES = 8 * 1024**3
_MOST_FILES = 10_000
#: What zipfile and the codecs below it raise for damaged data, beside errors of general kinds.
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error)
#: What an upload is unpacked into, beside the artifacts; one that a crash left behind is removed at the next start.
_INCOMING = ".incoming-"


class Incoming:
    """An artifact that has been taken in and checked, not yet in its place."""

    def __init__(self, unpacked: Path, folder: Path, manifest: Manifest) -> None:
        self._unpacked = unpacked
        self._folder = folder
        self.manifest = manifest

    def put_in_place(self) -> None:
        """Move it to its place, over what is there; blocking."""
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._unpacked.chmod(0o755)  # mkdtemp's is for its owner alone; workers may run as somebody else
        self._unpacked.rename(self._folder)


class ArtifactStore:
    """Keeps artifacts in a folder.

    Args:
        path: the folder; made on first use.
        key: that signs artifacts, or None.
        largest_bytes: bound on an artifact, packed and unpacked.
    """

    def __init__(self, path: Path, key: bytes | None, largest_bytes: int = _LARGEST_BYTES) -> None:
        self._path = path
        self._key = key
        self._largest_bytes = largest_bytes

    def prepare(self) -> None:
        """Make the folder, and remove what an upload that was cut off left there."""
        self._path.mkdir(parents=True, exist_ok=True)
        for left in self._path.glob(f"{_INCOMING}*"):
            shutil.rmtree(left)

    def folder(self, name: str, version: str) -> Path:
        """Where an artifact is, or will be. Raises InvalidNameError for what is no name."""
        return self._path / "models" / check_name("model name", name) / check_name("model version", version)

    def has(self, name: str, version: str) -> bool:
        """Whether there is an artifact."""
        return self.folder(name, version).is_dir()

    @asynccontextmanager
    async def incoming(self, name: str, version: str, chunks: AsyncIterable[bytes]) -> AsyncIterator[Incoming]:
        """Take in a zip and check it; it is gone at the end of the block unless it was put in its place.

        Raises:
            ArtifactError, SignatureError: when it is not a sound artifact of that name and version.
            PayloadTooLargeError: when it is larger than the bound, packed or unpacked.
        """
        folder = self.folder(name, version)
        self._path.mkdir(parents=True, exist_ok=True)
        unpacked = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=self._path))
        try:
            with tempfile.TemporaryFile(dir=self._path) as packed:
                await self._spool(chunks, packed)
                await asyncio.to_thread(self._unpack, packed, unpacked)
            manifest = await asyncio.to_thread(self._check, unpacked, name, version)
            yield Incoming(unpacked, folder, manifest)
        finally:
            await asyncio.to_thread(shutil.rmtree, unpacked, ignore_errors=True)

    async def _spool(self, chunks: AsyncIterable[bytes], packed: IO[bytes]) -> None:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > self._largest_bytes:
                message = f"the artifact is larger than {self._largest_bytes} bytes"
                raise PayloadTooLargeError(message)
            try:
                await asyncio.to_thread(packed.write, chunk)
            except OSError as error:
                message = f"the artifact cannot be stored: {error.strerror or error}"
                raise ManagerError(message) from error

    def _unpack(self, packed: IO[bytes], folder: Path) -> None:
        try:
            with zipfile.ZipFile(packed) as archive:
                entries = archive.infolist()
                self._check_size(entries)
                for entry in entries:
                    _check_path(entry.filename)
                archive.extractall(folder)
        except SkysailError:
            raise
        except (*_DAMAGED, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
            message = f"the artifact is not a zip file that can be read: {error}"
            raise ArtifactError(message) from error
        except OSError as error:
            message = f"the artifact cannot be unpacked: {error.strerror or error}"
            raise ArtifactError(message) from error

    def _check_size(self, entries: list[zipfile.ZipInfo]) -> None:
        """By what the entries say; none is unpacked beyond the size that it says."""
        if sum(entry.file_size for entry in entries) > self._largest_bytes:
            message = f"the artifact is larger than {self._largest_bytes} bytes when unpacked"
            raise PayloadTooLargeError(message)
        if len(entries) > _MOST_FILES:
            message = f"the artifact holds {len(entries)} files; the limit is {_MOST_FILES}"
            raise PayloadTooLargeError(message)

    def _check(self, folder: Path, name: str, version: str) -> Manifest:
        manifest = verify(folder, self._key)
        if (manifest.name, manifest.version) != (name, version):
            message = f"the artifact is of {manifest.name}/{manifest.version}, not of {name}/{version}"
            raise ArtifactError(message)
        return manifest

    def manifest(self, name: str, version: str) -> Manifest:
        """Verify the artifact in its place; blocking. Raises ArtifactError, SignatureError."""
        return self._check(self.folder(name, version), name, version)

    def remove(self, name: str, version: str) -> None:
        """Remove an artifact, if it is there; blocking."""
        folder = self.folder(name, version)
        if folder.exists():
            shutil.rmtree(folder)


def _check_path(name: str) -> None:
    """An entry stays inside of the artifact, whatever it is unpacked on."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        message = f"the artifact holds {name!r}, which is no name or lies outside of it"
        raise ArtifactError(message)
