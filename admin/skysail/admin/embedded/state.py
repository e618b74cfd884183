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

_OWNER_ONLY = 0o600
_DEFAULT_NAMESPACE = "default"


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
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.created_s) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


class StateFolder:
    """One stack's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"
        self.store = path / "store"
        self._up = path / "up.json"
        self._lock = path / "lock"

    def artifacts(self, namespace: str) -> Path:
        """Where artifacts are. Each namespace has its own: two may have models of one name."""
        own = self.path if namespace == _DEFAULT_NAMESPACE else self.path / "namespaces" / namespace
        return own / "artifacts"

    def make(self) -> None:
        """Create what is missing; nobody else can look into a folder that is made here."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700, exist_ok=True)
            for folder in (self.logs, self.store):
                folder.mkdir(exist_ok=True)
        except OSError as error:
            message = f"the state folder {self.path} cannot be made: {error.strerror}; choose another with --state"
            raise StackError(message) from error

    @property
    def signing_key(self) -> Path:
        """The key that signs artifacts, readable by its owner alone; made once, and whole from the first moment."""
        path = self.path / "signing.key"
        if not path.exists():
            fresh = _write_privately(self.path / f"signing.key.{secrets.token_hex(4)}", secrets.token_hex(32).encode())
            try:
                path.hardlink_to(fresh)
            except FileExistsError:  # somebody was faster: theirs counts
                return path
            finally:
                fresh.unlink()
        return path

    def read(self) -> UpInfo | None:
        """The running stack; None when there is none (a file that a crash left behind does not count).

        Raises:
            StackError: when the file is not one of this version of Skysail.
        """
        try:
            info = msgspec.json.decode(self._up.read_bytes(), type=UpInfo)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            message = f"{self._up} cannot be read ({error}); remove it if nothing runs there"
            raise StackError(message) from error
        return info if info.alive else None

    def write(self, info: UpInfo) -> None:
        """Say what is running, in one step. For the owner's eyes: the store's URL may hold a password."""
        fresh = _write_privately(self._up.with_suffix(".new"), msgspec.json.format(msgspec.json.encode(info)))
        fresh.replace(self._up)

    def clear(self) -> None:
        """Nothing is running any more."""
        self._up.unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder: one stack at a time. Raises StackError when another holds it."""
        with self._lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise self.busy() from None
            yield

    def busy(self) -> StackError:
        """The error for a folder that a stack runs in."""
        return StackError(
            f"a stack is running in {self.path} already; `skysail status` shows it, `skysail down` stops it"
        )


def _write_privately(path: Path, data: bytes) -> Path:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "wb") as file:
        file.write(data)
    return path
