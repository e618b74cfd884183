"""How a worker logs: structured events on stderr, as text for people or JSON for machines."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import structlog

__all__ = ["Damped", "configure"]


def configure(level: str, log_format: str, **common: object) -> None:
    """Send every event of at least `level` to stderr; stdout stays the model's.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        log_format: ``text`` or ``json``.
        common: key and value pairs of every event, on every thread.
    """

    def add_common(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**event, **common}

    last: list[structlog.typing.Processor]
    if log_format == "json":
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    structlog.configure(
        processors=[
            add_common,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


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
