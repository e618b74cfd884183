"""Stopping in good order: the first signal asks, the second insists."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import FrameType

import structlog

__all__ = ["Patience", "StopRequest", "StoppedWhileLoading"]

_log = structlog.get_logger(__name__)

_LONGEST_PAUSE_S = 1.0
_SLICE_S = 0.05


class StoppedWhileLoading(BaseException):
    """Raised by the first signal while nothing is in hand yet."""


class StopRequest:
    """Whether the process has been asked to stop (SIGTERM, SIGINT).

    Until `hold` is called there is nothing to finish, so a signal ends the process by `StoppedWhileLoading`. From then
    on it sets `requested`, which the loop looks at between batches.
    """

    def __init__(self) -> None:
        self.requested = False
        self._held = False

    def listen(self) -> None:
        """Take over the process's signals."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def hold(self) -> None:
        """From now on there may be work in hand."""
        self._held = True

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.requested:
            os._exit(128 + number)
        self.requested = True
        if not self._held:
            raise StoppedWhileLoading


class Patience:
    """Waits between tries, longer each time, up to a second; gives up when the process is asked to stop."""

    def __init__(self, stop: StopRequest, sleep: Callable[[float], None] = time.sleep, first_s: float = 0.02) -> None:
        self._stop = stop
        self._sleep = sleep
        self._first_s = first_s

    def wait(self, attempt: int) -> bool:
        """Wait after the try with this number (0, 1, …); False: no further try, the process is to stop."""
        left_s = min(self._first_s * 2 ** min(attempt, 10), _LONGEST_PAUSE_S)
        # A sleep goes on after a signal's handler has run, so it is taken in slices.
        while left_s > 0 and not self._stop.requested:
            self._sleep(min(left_s, _SLICE_S))
            left_s -= _SLICE_S
        return not self._stop.requested
