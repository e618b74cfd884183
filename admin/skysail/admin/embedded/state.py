"""The state folder: artifacts, logs, the store's file, the signing key, and what is running."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil

from skysail.admin.embedded.options import StackError

__all__ = ["StateFolder", "UpInfo", "default_state"]


def default_state() -> Path:
    """`$SKYSAIL_STATE`, or `~/.local/share/skysail`."""
    named = os.environ.get("SKYSAIL_STATE")
    return Path(named) if named else Path.home() / ".local" / "share" / "skysail"


class UpInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A stack that is running. `created_s` tells its process from another that was given the same pid later."""

    pid: int
    created_s: float
    frontend: str
    admin: str
    kafka: str
    redis: str
    embedded_broker: bool
    embedded_store: bool

    @property
    def alive(self) -> bool:
        """Whether that process is there."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.created_s) < 1
        except psutil.NoSuchProcess:
            return False


class StateFolder:
    """One stack's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.artifacts = path / "artifacts"
        self.logs = path / "logs"
        self.store = path / "store"
        self._up = path / "up.json"

    def make(self) -> None:
        """Create what is missing."""
        for folder in (self.path, self.artifacts, self.logs, self.store):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def signing_key(self) -> Path:
        """The key that signs artifacts, readable by its owner alone; made once."""
        path = self.path / "signing.key"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        return path

    def read(self) -> UpInfo | None:
        """The running stack; None when there is none (a file that a crash left behind does not count)."""
        try:
            info = msgspec.json.decode(self._up.read_bytes(), type=UpInfo)
        except FileNotFoundError:
            return None
        return info if info.alive else None

    def write(self, info: UpInfo) -> None:
        """Say what is running, in one step."""
        fresh = self._up.with_suffix(".new")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(info)))
        fresh.replace(self._up)

    def clear(self) -> None:
        """Nothing is running any more."""
        self._up.unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder: one stack at a time. Raises StackError when another holds it."""
        with (self.path / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                message = (
                    f"a stack is running in {self.path} already; `skysail status` shows it, `skysail down` stops it"
                )
                raise StackError(message) from None
            yield
