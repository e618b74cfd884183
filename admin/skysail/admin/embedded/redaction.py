"""Addresses as they may be shown."""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["without_password"]


def without_password(url: str) -> str:
    """A URL with `***` for its password, when it has one."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    _, _, address = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{parts.username or ''}:***@{address}").geturl()
