"""Keeps a number of processes running until told to stop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import structlog

__all__ = ["Supervisor"]

_log = structlog.get_logger(__name__)

#: A process that lived for less than this ended by something that a new one will meet again.
_SOON_S = 10.0
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0


class Supervisor:
    """Starts processes, and another for each that ends; with growing pauses while they end soon.

    Args:
        start: starts one process.
        count: how many are to run.
        clock: monotonic seconds.
    """

    def __init__(
        self, start: Callable[[], BaseProcess], count: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._start = start
        self._count = count
        self._clock = clock
        self._children: dict[BaseProcess, float] = {}
        self._pause_s = 0.0
        self._stopping = False
        # Written by `stop`, so that whatever `run` waits for, it wakes.
        self._waker = os.pipe()

    def stop(self) -> None:
        """Ask all processes to end, and start no more; `run` returns when they have. Safe in a signal handler."""
        self._stopping = True
        os.write(self._waker[1], b"x")

    def run(self) -> None:
        """Return when all processes have ended after `stop`."""
        woken = self._waker[0]
        resume_at = self._clock()
        while not self._stopping:
            if len(self._children) < self._count and self._clock() >= resume_at:
                self._children[self._start()] = self._clock()
                continue
            pause_s = max(0.0, resume_at - self._clock()) if len(self._children) < self._count else None
            wait([woken, *(child.sentinel for child in self._children)], pause_s)
            if self._reap():
                resume_at = self._clock() + self._pause_s
        for child in self._children:
            child.terminate()
        while self._children:
            wait([child.sentinel for child in self._children])
            self._reap()

    def _reap(self) -> bool:
        """Forget the processes that have ended; whether there were any."""
        ended = [child for child in self._children if child.exitcode is not None]
        for child in ended:
            lived_s = self._clock() - self._children.pop(child)
            if not self._stopping:
                soon = lived_s < _SOON_S
                self._pause_s = min(max(_FIRST_PAUSE_S, self._pause_s * 2), _LONGEST_PAUSE_S) if soon else 0.0
                _log.error("process_ended", ended=child.pid, exit_status=child.exitcode, pause_s=self._pause_s)
            child.join()
        return bool(ended)
