"""When the next batch goes and how large it may be: the sizer, delayed batching, and how long to poll meanwhile."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from skysail.workers.batching import BatchSizer, BatchWait
from skysail.workers.intake import Intake
from skysail.workers.returning import ReturnWait

__all__ = ["Pacing"]

#: How long an idle poll waits: how soon a signal or a promotion is noticed.
_IDLE_S = 0.25
#: From the end of predict to the caller, about.
_REPLY_MS = 2


class Pacing:
    """Decides from what is waiting. Pure but for the clocks.

    Args:
        intake: what is waiting.
        sizer: the largest batch now; learns from finished ones.
        wait: whether a batch that is not full waits for more.
        clock: monotonic seconds.
        now_ms: unix milliseconds.
    """

    def __init__(
        self,
        intake: Intake,
        sizer: BatchSizer,
        wait: BatchWait,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._intake = intake
        self._sizer = sizer
        self._wait = wait
        self._waits = wait.batch_wait_ms > 0
        self._clock = clock
        self._now_ms = now_ms
        self._left_waiting = False
        self._typical_s = 0.0
        self._returning = ReturnWait()

    @property
    def cap(self) -> int:
        """Rows that the next batch may hold."""
        return self._sizer.cap

    @property
    def answer_ms(self) -> int:
        """How long the next batch will take: what expires meanwhile need not begin, where others wait in its place.

        0 where nobody does: late is better than never, and a model that was slow once would never run again.
        """
        if self._intake.rows <= self._sizer.cap:
            return 0
        return math.ceil(self._typical_s * 1000) + _REPLY_MS

    def room(self) -> int:
        """Records to poll at most; 0: enough is waiting."""
        return self._intake.room(self._sizer.cap)

    def poll_timeout_s(self, commit_in_s: float | None) -> float:
        """How long a poll may wait for its first record: not at all while a batch can go.

        Args:
            commit_in_s: seconds until the next commit, or None.
        """
        if self._returning.drains:
            return 0.0
        timeout_s = _IDLE_S if commit_in_s is None else min(_IDLE_S, commit_in_s)
        if self._intake:
            timeout_s = min(timeout_s, self._send_at_s() - self._clock())
        return max(0.0, timeout_s)

    def is_due(self) -> bool:
        """Whether what is waiting is to be sent now."""
        return self._send_at_s() <= self._clock()

    def _send_at_s(self) -> float:
        intake, cap, now_s = self._intake, self._sizer.cap, self._clock()
        if intake.has_suspect or intake.rows >= cap:
            return -math.inf
        until_s = self._returning.send_at_s(intake.rows, now_s)
        if not self._waits and until_s <= now_s:
            return until_s
        # The earliest deadline must still be met after a predict as long as the last one.
        latest_s = now_s + (intake.nearest_ms - self._now_ms()) / 1000 - self._typical_s
        if self._waits:
            until_s = max(until_s, self._wait.send_at_s(intake.first_ns / 1e9, intake.rows, cap, latest_s))
        return min(until_s, latest_s)

    def arrived(self, queries: int) -> None:
        """A poll has brought so many records, or none."""
        self._returning.arrived(queries, self._clock())

    def replied(self, queries: int) -> None:
        """The outcomes of so many queries have been stored."""
        self._returning.replied(queries, self._clock())

    def batch_begins(self) -> None:
        """A batch has been taken out of the intake."""
        self._left_waiting = self._intake.rows > 0
        self._returning.batch_begins(self._clock())

    def observe(self, rows: int, duration_s: float) -> None:
        """A predict of so many rows took so long."""
        self._typical_s = duration_s
        self._returning.cost.observe(rows, duration_s)
        self._sizer.observe(rows, duration_s, left_waiting=self._left_waiting)
