"""Which addresses are this machine's own."""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["is_this_machine"]

_LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


def is_this_machine(url: str) -> bool:
    """Whether a URL leads to this machine. A proxy is not asked for those: it would look for them on its own."""
    return urlsplit(url).hostname in _LOCAL_HOSTS
