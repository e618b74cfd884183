"""How many queries of one topic may be in flight: no more than can be answered in time. Pure.

By Little's law a query that finds `n` others before it, where `c` are answered a second, is answered after n / c. So
the rate at which late answers come tells how many may wait for a given deadline; the rest are better refused at once
than answered too late. (As in Netflix's concurrency-limits and in DAGOR, SoCC 2018, the sender learns the limit from
the latency that it sees, and needs no word from the other side.)
"""

from __future__ import annotations

import math

__all__ = ["Admission"]

#: The share of a deadline that a query is let in to take. The rest is for what varies.
_SHARE = 0.6
#: So many may always be in flight: fewer would tell nothing about the rate.
_FEWEST = 16
#: Late answers are believed by half: one may be a stall.
_LEARN = 0.5
#: Of a query that was given up it is known only that the rate is less than would have answered it.
_GIVEN_UP = 0.7
#: Without late answers the rate is taken to be larger, e times in so many seconds.
_GROW_S = 1.0


class Admission:
    """Learns the rate of answers from those that come late. Times are monotonic seconds, handed in.

    Args:
        most: in flight, whatever the rate.
    """

    __slots__ = ("_learned_s", "_most", "per_s")

    def __init__(self, most: int) -> None:
        self._most = most
        self._learned_s = 0.0
        #: Answers a second, as far as is known; infinite until one came late.
        self.per_s = math.inf

    def admits(self, in_flight: int, timeout_s: float) -> bool:
        """Whether one more query, with so much time, may join those in flight."""
        return in_flight < self._most and (in_flight < _FEWEST or in_flight < self.limit(timeout_s))

    def limit(self, timeout_s: float) -> float:
        """How many may be in flight before a query with so much time."""
        return min(self._most, max(_FEWEST, self.per_s * _SHARE * timeout_s))

    def observe(self, ahead: int, took_s: float, timeout_s: float, now_s: float, *, answered: bool = True) -> None:
        """A query that had found `ahead` others in flight was answered, or given up, after `took_s`.

        To be told of one query of each batch: those of one batch say the same.
        """
        late = took_s > _SHARE * timeout_s or not answered
        if self.per_s == math.inf and not late:
            return
        per_s = (ahead + 1) / max(took_s, 1e-6)
        if not answered:
            per_s = _GIVEN_UP * min(per_s, self.per_s)
        if late:
            known = min(self.per_s, 2 * per_s)  # the first time there is nothing to be careful of
            self.per_s = known + _LEARN * (per_s - known)
        else:
            grown = self.per_s * math.exp(min(1.0, (now_s - self._learned_s) / _GROW_S))
            self.per_s = max(per_s, grown)
            if self.per_s * _SHARE * timeout_s > self._most:
                self.per_s = math.inf
        self._learned_s = now_s
