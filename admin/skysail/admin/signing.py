"""Which key signs artifacts here, when nobody names one."""

from __future__ import annotations

import os
from pathlib import Path

from skysail.admin.addresses import is_this_machine
from skysail.topics.artifacts import read_key

__all__ = ["default_signing_key"]


def default_signing_key(admin_url: str) -> bytes | None:
    """By `SKYSAIL_ARTIFACTS__SIGNING_KEY(_FILE)`; else, for an admin process on this machine, the stack's own key.

    Raises:
        ArtifactError: when the file that is named cannot be read, or is empty.
    """
    named = os.environ.get("SKYSAIL_ARTIFACTS__SIGNING_KEY")
    if named:
        return named.encode()
    file = os.environ.get("SKYSAIL_ARTIFACTS__SIGNING_KEY_FILE")
    if file:
        return read_key(Path(file))
    if is_this_machine(admin_url):
        from skysail.admin.embedded.state import default_state

        own = default_state() / "signing.key"
        return read_key(own) if own.exists() else None
    return None
