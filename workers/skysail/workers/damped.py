"""Warnings that would repeat with every try: said once in a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

__all__ = ["Damped"]


class Damped:
    """A warning that is logged at most once in `every_s` seconds; what was left out is counted.

    Args:
        log: where it goes.
        event: its name.
        every_s: seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self, log: Any, event: str, every_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._event = event
        self._every_s = every_s
        self._clock = clock
        self._next_s = -float("inf")
        self._left_out = 0

    def __call__(self, error: str) -> None:
        """It has happened (again)."""
        now_s = self._clock()
        if now_s < self._next_s:
            self._left_out += 1
            return
        self._log.warning(self._event, error=error, left_out=self._left_out)
        self._next_s = now_s + self._every_s
        self._left_out = 0
