"""Child processes: started, restarted with back-off when they end unasked, stopped with grace, never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

import msgspec
import structlog

from skysail.admin.backoff import Backoff
from skysail.admin.child_log import LARGEST_LOG_BYTES, bound_log, is_large
from skysail.admin.child_process import exit_in_words, launch, signal_group
from skysail.topics.errors import ManagerError

__all__ = ["ChildSpec", "ChildState", "ChildStatus", "Supervisor"]

_log = structlog.get_logger(__name__)
_LOOK_AT_LOG_S = 5.0


class ChildState(StrEnum):
    """Where a child is in its life."""

    STARTING = "starting"
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
        largest_log_bytes: beyond that the log is put aside (one is kept), at most a few seconds late.
        stop_grace_s: from SIGTERM to SIGKILL.
        final_exits: exit codes after which it is not started again.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = {}
    log: Path
    largest_log_bytes: int = LARGEST_LOG_BYTES
    stop_grace_s: float = 30.0
    final_exits: frozenset[int] = frozenset()


class ChildStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a child is doing.

    Attributes:
        state: where it is in its life.
        since_s: when it came into that state, in seconds since the epoch.
        pid: of the running process; None while there is none.
        restarts: how often it was started again.
        last_exit: how its last process ended, in words; None before the first end.
        last_code: the same as a number: an exit code, or a signal as a negative number.
    """

    name: str
    state: ChildState
    since_s: float
    pid: int | None
    restarts: int
    last_exit: str | None
    last_code: int | None


class _Child:
    """One child, and the task that starts it again: the only one that touches its process once it runs."""

    def __init__(self, spec: ChildSpec, clock: Callable[[], float], backoff: Backoff) -> None:
        self._spec = spec
        self._clock = clock
        self._backoff = backoff
        self._state = ChildState.STARTING
        self._since_s = time.time()
        self._restarts = 0
        self._last_code: int | None = None
        self._last_exit: str | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._asked_to_stop = asyncio.Event()
        self._ended = asyncio.Event()
        self._starting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def _enter(self, state: ChildState) -> None:
        self._state = state
        self._since_s = time.time()

    async def start(self) -> None:
        async with self._starting:
            process = await self._launch()
            self._task = asyncio.create_task(self._keep(process), name=f"supervise {self._spec.name}")

    async def _launch(self) -> asyncio.subprocess.Process:
        spec = self._spec
        await self._bound_log()  # one that ends again and again never runs for long enough to have it looked at
        try:
            self._process = await launch(spec.command, {**os.environ, **spec.environment}, spec.log)
        except OSError as error:
            message = f"{spec.name} cannot be started: {error}"
            raise ManagerError(message) from error
        self._enter(ChildState.RUNNING)
        return self._process

    async def _keep(self, first: asyncio.subprocess.Process) -> None:
        process: asyncio.subprocess.Process | None = first
        while True:
            if process is not None and await self._run_out(process):
                break
            process = await self._start_again()
            if process is None and self._asked_to_stop.is_set():
                break
        self._enter(ChildState.STOPPED)

    async def _run_out(self, process: asyncio.subprocess.Process) -> bool:
        """See a process to its end; True when none must follow."""
        started = self._clock()
        if not await self._ends_unasked(process):
            await self._end(process)
        code = await process.wait()
        signal_group(process, signal.SIGKILL)  # what it leaves behind would hold its port, or do its work twice
        self._backoff.ended(self._clock() - started)
        self._note(code, exit_in_words(code))
        return self._asked_to_stop.is_set() or code in self._spec.final_exits

    async def _ends_unasked(self, process: asyncio.subprocess.Process) -> bool:
        end = asyncio.create_task(process.wait())
        request = asyncio.create_task(self._asked_to_stop.wait())
        try:
            ways = {end, request}
            while not (await asyncio.wait(ways, timeout=_LOOK_AT_LOG_S, return_when=asyncio.FIRST_COMPLETED))[0]:
                await self._bound_log()
            return not self._asked_to_stop.is_set()
        finally:
            end.cancel()
            request.cancel()

    async def _bound_log(self) -> None:
        try:
            if is_large(self._spec.log, self._spec.largest_log_bytes):
                await asyncio.to_thread(bound_log, self._spec.log)
        except OSError as error:  # somebody took the log away: the child is what counts
            _log.warning("log_not_bounded", child=self._spec.name, error=str(error))

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """SIGTERM to the process, which tells its own children; SIGKILL to all of its group after the grace."""
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self._spec.stop_grace_s)
        except TimeoutError:
            _log.warning("child_killed", child=self._spec.name, grace_s=self._spec.stop_grace_s)
            signal_group(process, signal.SIGKILL)

    def _note(self, code: int | None, words: str) -> None:
        self._last_code = code
        self._last_exit = words
        self._ended.set()

    async def _start_again(self) -> asyncio.subprocess.Process | None:
        """The next process after a pause; None when it could not be started, or must not be any more."""
        pause_s = self._backoff.pause_s
        self._enter(ChildState.BACKING_OFF)
        _log.warning("child_ended", child=self._spec.name, exit=self._last_exit, restart_in_s=pause_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._asked_to_stop.wait(), pause_s)
        if self._asked_to_stop.is_set():
            return None
        self._restarts += 1
        try:
            return await self._launch()
        except ManagerError as error:  # the program is gone for now, or the machine is out of processes
            self._backoff.ended(0)
            self._note(None, str(error))
            return None

    async def stop(self) -> None:
        self._asked_to_stop.set()
        async with self._starting:  # a child that is being started is stopped once it is there
            task = self._task
        if task is not None:
            await task

    async def ended(self) -> None:
        await self._ended.wait()

    def status(self) -> ChildStatus:
        process = self._process
        return ChildStatus(
            name=self._spec.name,
            state=self._state,
            since_s=self._since_s,
            pid=process.pid if process is not None and process.returncode is None else None,
            restarts=self._restarts,
            last_exit=self._last_exit,
            last_code=self._last_code,
        )


class Supervisor:
    """Keeps children running. Lives in one event loop, on the main thread; nothing is polled.

    Args:
        clock: monotonic seconds, to tell how long a child ran.
        backoff: makes the pauses of a new child.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, backoff: Callable[[], Backoff] = Backoff) -> None:
        self._children: dict[str, _Child] = {}
        self._clock = clock
        self._backoff = backoff

    async def start(self, spec: ChildSpec) -> None:
        """Start a child. Raises ManagerError when one of that name is there, or the program cannot be run."""
        if spec.name in self._children:
            message = f"a child named {spec.name} is there already"
            raise ManagerError(message)
        child = self._children[spec.name] = _Child(spec, self._clock, self._backoff())
        try:
            await child.start()
        except BaseException:
            self._forget(spec.name, child)
            raise

    async def stop(self, name: str) -> None:
        """Ask a child to end, kill it after its grace, and forget it. Raises ManagerError when there is none."""
        child = self._find(name)
        await child.stop()
        self._forget(name, child)

    async def stop_all(self) -> None:
        """Stop all children at once."""
        children = dict(self._children)
        await asyncio.gather(*(child.stop() for child in children.values()))
        for name, child in children.items():
            self._forget(name, child)

    async def ended(self, name: str) -> ChildStatus:
        """Wait until a child has ended for the first time, whether or not it is started again. Raises ManagerError."""
        child = self._find(name)
        await child.ended()
        return child.status()

    def status(self) -> dict[str, ChildStatus]:
        """All children by name."""
        return {name: child.status() for name, child in self._children.items()}

    def _forget(self, name: str, child: _Child) -> None:
        if self._children.get(name) is child:
            del self._children[name]

    def _find(self, name: str) -> _Child:
        child = self._children.get(name)
        if child is None:
            message = f"there is no child named {name}"
            raise ManagerError(message)
        return child
