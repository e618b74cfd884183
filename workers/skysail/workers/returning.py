"""Waiting for callers that have just been answered to ask again, while that pays.

Callers that ask one query after another come back a moment after they are answered. A worker that starts at once on
what is waiting meanwhile splits them into groups that take turns, each in a batch of its own; where a call's fixed cost
dominates, half the batches would do the same work. So the worker learns what a batch costs (duration ≈ b + a·rows), how
many of those it answered come back, and how soon, and waits for them when more rows a second come out of it. Nobody
waits when nobody is expected: a single caller's query leaves at once, and so does one that comes out of silence.
"""

from __future__ import annotations

__all__ = ["BatchCost", "ReturnWait"]

_MEMORY = 0.9
#: Fixed costs below this are not worth a wait: the polls alone would cost as much.
_LEAST_FIXED_S = 0.001
#: The gain must be clear, for what is expected is a guess.
_MARGIN = 0.8
#: Batches between two tries, while waiting does not seem to pay.
_TRY_EVERY = 40
_SLACK = 1.25
_LEARN = 0.4
#: A wait that was not long enough for all is this much longer the next time, before fewer are expected.
_LONGER = 1.25
_RIDGE = 0.02
#: When fewer than this share of those answered are still out, they are not waited for.
_FEW = 0.05


class BatchCost:
    """Duration as a line over rows, by exponentially weighted least squares. Pure."""

    def __init__(self) -> None:
        self._weight = self._rows = self._duration = self._rows2 = self._product = 0.0

    def observe(self, rows: int, duration_s: float) -> None:
        """A predict of so many rows took so long."""
        keep = _MEMORY
        self._weight = keep * self._weight + 1
        self._rows = keep * self._rows + rows
        self._duration = keep * self._duration + duration_s
        self._rows2 = keep * self._rows2 + rows * rows
        self._product = keep * self._product + rows * duration_s

    @property
    def line(self) -> tuple[float, float]:
        """(b, a): seconds for each call and for each row, neither negative; (0, 0) before the first observation."""
        if not self._weight:
            return 0.0, 0.0
        rows, duration = self._rows / self._weight, self._duration / self._weight
        variance = max(0.0, self._rows2 / self._weight - rows * rows)
        # Where sizes hardly differ, noise would pass for a slope: it is shrunk then, and the cost counts as fixed.
        covariance = self._product / self._weight - rows * duration
        slope = min(max(0.0, covariance / (variance + _RIDGE * rows * rows)), duration / rows)
        return duration - slope * rows, slope


class ReturnWait:
    """Decides until when to wait. Pure: times are monotonic seconds, handed in.

    `replied` after a batch's outcomes are stored, `arrived` when records come, `batch_begins` when one is taken.
    """

    def __init__(self) -> None:
        self.cost = BatchCost()
        self._replied_s = 0.0
        self._answered = 0
        self._drained = True
        self._returned = 0
        self._last_s = 0.0
        self._trying = False
        self._waited_until_s: float | None = None
        self._since_try = _TRY_EVERY
        # Learned: this share of those answered comes back, the last of them after so long.
        self._share = 0.0
        self._last_back_s = 0.0

    @property
    def drains(self) -> bool:
        """Whether the next poll only fetches what came while predict ran: it must not wait, and nobody returned yet."""
        return not self._drained

    def replied(self, queries: int, now_s: float) -> None:
        """So many queries have just been answered."""
        self._replied_s = now_s
        self._answered = queries
        self._drained = False
        self._returned = 0
        self._waited_until_s = None
        self._since_try += 1
        self._trying = self._since_try >= _TRY_EVERY

    def arrived(self, queries: int, now_s: float) -> None:
        """A poll has brought so many queries, or none."""
        if not self._drained:
            self._drained = True
        elif queries:
            self._returned += queries
            self._last_s = now_s

    def send_at_s(self, waiting_rows: int, now_s: float) -> float:
        """When to send what is waiting (at least one row); a time that is past: at once."""
        fixed_s, _ = self.cost.line
        if fixed_s < _LEAST_FIXED_S or waiting_rows < 1:
            return now_s
        expected = self._expected
        if expected < self._few:
            return now_s
        until_s = self._replied_s + (fixed_s if self._trying else min(fixed_s, _SLACK * self._last_back_s))
        # (waiting + expected) / (duration + more rows + wait) > waiting / duration, solved for the wait.
        gain_s = expected * fixed_s / waiting_rows
        if until_s <= now_s or (not self._trying and until_s - now_s > _MARGIN * gain_s):
            return now_s
        self._waited_until_s = until_s
        return until_s

    @property
    def _expected(self) -> float:
        return self._answered * (1.0 if self._trying else self._share) - self._returned

    @property
    def _few(self) -> float:
        return max(0.5, _FEW * self._answered)

    def batch_begins(self, now_s: float) -> None:
        """What was waiting is on its way: learn from the wait, if there was one."""
        if self._waited_until_s is None:
            return
        back_s = self._last_s - self._replied_s if self._returned else 0.0
        share = min(1.0, self._returned / self._answered)
        if self._trying:
            self._share, self._last_back_s = share, back_s
        elif self._expected < self._few:
            # The slowest is what counts: it is believed at once, the quick ones bit by bit.
            self._last_back_s += (1.0 if back_s > self._last_back_s else _LEARN) * (back_s - self._last_back_s)
            self._share += _LEARN * (share - self._share)
        elif now_s >= self._waited_until_s:  # a wait that was cut short says nothing of the rest
            fixed_s, _ = self.cost.line
            if _SLACK * self._last_back_s < fixed_s:
                self._last_back_s *= _LONGER
            else:
                self._share += _LEARN * (share - self._share)
        self._since_try = 0
        self._waited_until_s = None
        self._trying = False
