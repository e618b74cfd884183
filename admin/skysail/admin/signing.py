"""Which key signs artifacts here, when nobody names one."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from skysail.topics.errors import ArtifactError

__all__ = ["default_signing_key"]

_LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


def default_signing_key(admin_url: str) -> bytes | None:
    """By `SKYSAIL_ARTIFACTS__SIGNING_KEY(_FILE)`; else, for an admin process on this machine, the stack's own key.

    Raises:
        ArtifactError: when the file that is named cannot be read.
    """
    named = os.environ.get("SKYSAIL_ARTIFACTS__SIGNING_KEY")
    if named:
        return named.encode()
    file = os.environ.get("SKYSAIL_ARTIFACTS__SIGNING_KEY_FILE")
    if file:
        return _read(Path(file))
    if urlsplit(admin_url).hostname in _LOCAL_HOSTS:
        from skysail.admin.embedded.state import default_state

        own = default_state() / "signing.key"
        return _read(own) if own.exists() else None
    return None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes().strip()
    except OSError as error:
        message = f"the signing key {file} cannot be read: {error.strerror}"
        raise ArtifactError(message) from error
