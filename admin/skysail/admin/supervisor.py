"""Child processes: started, restarted with back-off when they end unasked, stopped with grace, never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import IO

import msgspec
import structlog

from skysail.admin.backoff import Backoff
from skysail.topics.errors import ManagerError

__all__ = ["ChildSpec", "ChildState", "ChildStatus", "Supervisor", "exit_in_words", "log_tail"]

_log = structlog.get_logger(__name__)
_LARGEST_LOG_BYTES = 32 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class ChildState(StrEnum):
    """Where a child is in its life."""

    RUNNING = "running"
    BACKING_OFF = "backing-off"
    STOPPED = "stopped"


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How to run a child.

    Attributes:
        name: unique in its supervisor.
        command: program and arguments.
        environment: added to our own.
        log: file that its output is appended to.
        stop_grace_s: from SIGTERM to SIGKILL.
        final_exits: exit codes after which it is not started again.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = {}
    log: Path
    stop_grace_s: float = 30.0
    final_exits: frozenset[int] = frozenset()


class ChildStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a child is doing. `last_exit` is in words; None before the first exit."""

    name: str
    state: ChildState
    pid: int | None
    restarts: int
    last_exit: str | None
    last_code: int | None


def exit_in_words(code: int) -> str:
    """What an exit code means: a negative one is a signal."""
    if code >= 0:
        return f"exit code {code}"
    return f"killed by {signal.Signals(-code).name}"


def log_tail(path: Path, lines: int) -> str:
    """The last lines of a log; empty when there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - lines * 1000))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])


def _die_with_parent() -> None:
    """Between fork and exec: have the kernel send SIGTERM when the parent ends, however it ends (Linux)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class _Child:
    """One child and the task that keeps it running."""

    def __init__(self, spec: ChildSpec, clock: Callable[[], float]) -> None:
        self.spec = spec
        self.state = ChildState.STOPPED
        self.restarts = 0
        self.last_code: int | None = None
        self.process: asyncio.subprocess.Process | None = None
        self._clock = clock
        self._backoff = Backoff()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._launch()
        self._task = asyncio.create_task(self._keep(), name=f"supervise {self.spec.name}")

    async def _launch(self) -> None:
        spec = self.spec
        with _open_log(spec.log) as log:
            try:
                self.process = await asyncio.create_subprocess_exec(
                    *spec.command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=asyncio.subprocess.STDOUT,
                    env={**os.environ, **spec.environment},
                    start_new_session=True,
                    preexec_fn=_die_with_parent,  # one system call, with libc loaded before the fork
                )
            except OSError as error:
                message = f"{spec.name} cannot be started: {error}"
                raise ManagerError(message) from error
        self.state = ChildState.RUNNING

    async def _keep(self) -> None:
        while self.process is not None:
            started = self._clock()
            code = await self.process.wait()
            self.last_code = code
            if self._stopping.is_set() or code in self.spec.final_exits:
                break
            self.state = ChildState.BACKING_OFF
            pause_s = self._backoff.after_exit(self._clock() - started)
            _log.warning("child_ended", child=self.spec.name, exit=exit_in_words(code), restart_in_s=pause_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            if self._stopping.is_set():
                break
            self.restarts += 1
            await self._launch()
        self.state = ChildState.STOPPED

    async def stop(self) -> None:
        self._stopping.set()
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), self.spec.stop_grace_s)
            except TimeoutError:
                _log.warning("child_killed", child=self.spec.name, grace_s=self.spec.stop_grace_s)
                with contextlib.suppress(ProcessLookupError):  # it ended after all
                    os.killpg(self.process.pid, signal.SIGKILL)
        if self._task is not None:
            await self._task

    def status(self) -> ChildStatus:
        process = self.process
        return ChildStatus(
            name=self.spec.name,
            state=self.state,
            pid=process.pid if process is not None and process.returncode is None else None,
            restarts=self.restarts,
            last_exit=exit_in_words(self.last_code) if self.last_code is not None else None,
            last_code=self.last_code,
        )


def _open_log(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _LARGEST_LOG_BYTES:
        path.replace(path.with_suffix(path.suffix + ".1"))
    return path.open("ab")


class Supervisor:
    """Keeps children running. Lives in one event loop; nothing is polled."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._children: dict[str, _Child] = {}
        self._clock = clock

    async def start(self, spec: ChildSpec) -> None:
        """Start a child. Raises ManagerError when one of that name is there, or the program cannot be run."""
        if spec.name in self._children:
            message = f"a child named {spec.name} is there already"
            raise ManagerError(message)
        child = _Child(spec, self._clock)
        await child.start()
        self._children[spec.name] = child

    async def stop(self, name: str) -> None:
        """Ask a child to end, kill it after its grace, and forget it. Raises ManagerError when there is none."""
        child = self._children.pop(name, None)
        if child is None:
            message = f"there is no child named {name}"
            raise ManagerError(message)
        await child.stop()

    async def stop_all(self) -> None:
        """Stop all children at once."""
        children = list(self._children.values())
        self._children.clear()
        await asyncio.gather(*(child.stop() for child in children))

    def status(self) -> dict[str, ChildStatus]:
        """All children by name."""
        return {name: child.status() for name, child in self._children.items()}
