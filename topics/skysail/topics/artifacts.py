"""Artifacts: a folder with ``skysail.json``, which names every file by its sha-256 and is signed with HMAC-SHA-256.

A worker verifies before it reads anything else, for what it reads next is a pickle: code.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import msgspec

from skysail.topics.errors import ArtifactError, SignatureError
from skysail.topics.specs import InputType

__all__ = ["MANIFEST", "Environment", "Manifest", "read_key", "seal", "verify"]

MANIFEST = "skysail.json"
_FORMAT = 1
_BLOCK_BYTES = 1 << 20


class Environment(msgspec.Struct, frozen=True):
    """What a model was trained with.

    Attributes:
        python: ``major.minor``; pickled code does not load under another.
        distributions: name → version of what the code imports.
    """

    python: str = ""
    distributions: dict[str, str] = {}


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is in an artifact.

    Attributes:
        framework: which loader reads it (``python-closure``, ``sklearn``).
        entry_point: file that the loader starts from, relative to the folder.
        files: relative path → sha-256 in hex, of every file but the manifest.
        signature: HMAC-SHA-256 in hex over the manifest without it; empty when unsigned.
    """

    name: str
    version: str
    framework: str
    entry_point: str
    input_type: InputType
    environment: Environment = Environment()
    files: dict[str, str] = {}
    format: int = _FORMAT
    signature: str = ""

    def signed_bytes(self) -> bytes:
        """What the signature covers."""
        return msgspec.json.encode(msgspec.structs.replace(self, signature=""), order="sorted")

    @property
    def digest(self) -> str:
        """sha-256 in hex over the manifest, and through it over every file."""
        return hashlib.sha256(self.signed_bytes()).hexdigest()


def seal(folder: Path, manifest: Manifest, key: bytes | None) -> Manifest:
    """Hash every file in `folder`, sign (where there is a key) and write the manifest; returns it complete."""
    files = {path.relative_to(folder).as_posix(): _sha256(path) for path in _files(folder)}
    complete = msgspec.structs.replace(manifest, files=files)
    complete = msgspec.structs.replace(complete, signature=_sign(complete, key) if key is not None else "")
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(complete)))
    return complete


def verify(folder: Path, key: bytes | None) -> Manifest:
    """Check that the folder holds exactly what its manifest names, and that the signature is right.

    Raises:
        ArtifactError: naming the file that is missing, altered or not in the manifest.
        SignatureError: when there is a key and the signature is absent or was made with another.
    """
    manifest = _read(folder)
    if key is not None and not _same(manifest.signature, _sign(manifest, key)):
        reason = "was made with another key, or the manifest was altered" if manifest.signature else "is missing"
        message = f"the signature of artifact {manifest.name}/{manifest.version} {reason}"
        raise SignatureError(message)
    found = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    for name in sorted(found.keys() ^ manifest.files.keys()):
        fault = "not in the manifest" if name in found else "missing"
        message = f"artifact {manifest.name}/{manifest.version}: {name} is {fault}"
        raise ArtifactError(message)
    for name, path in found.items():
        if not _same(manifest.files[name], _sha256(path)):
            message = (
                f"artifact {manifest.name}/{manifest.version}: {name} is not what the manifest says (sha-256 differs)"
            )
            raise ArtifactError(message)
    return manifest


def read_key(file: Path) -> bytes:
    """The signing key that a file holds, without the space around it.

    Raises:
        ArtifactError: when it cannot be read, or is empty: whoever names a file means artifacts to be signed.
    """
    try:
        key = file.read_bytes().strip()
    except OSError as error:
        message = f"the signing key {file} cannot be read: {error.strerror}"
        raise ArtifactError(message) from error
    if not key:
        message = f"the signing key {file} is empty"
        raise ArtifactError(message)
    return key


def _read(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise ArtifactError(message) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"{path} is not a manifest: {error}"
        raise ArtifactError(message) from error
    if manifest.format != _FORMAT:
        message = f"{path} has format {manifest.format}; this release reads {_FORMAT}"
        raise ArtifactError(message)
    return manifest


def _files(folder: Path) -> list[Path]:
    links = [path for path in folder.rglob("*") if path.is_symlink()]
    if links:
        message = f"{links[0]} is a symbolic link; an artifact holds plain files only"
        raise ArtifactError(message)
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)


def _same(claimed: str, computed: str) -> bool:
    return hmac.compare_digest(claimed.encode(), computed.encode())  # of texts it takes ASCII only, of bytes any


def _sign(manifest: Manifest, key: bytes) -> str:
    if not key:
        message = "the signing key is empty: anybody could have signed"
        raise ArtifactError(message)
    return hmac.new(key, manifest.signed_bytes(), hashlib.sha256).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
