"""Suspecting a broker that hangs: connected, it stores nothing, and librdkafka would go on waiting. Pure."""

from __future__ import annotations

__all__ = ["StallWatch"]


class StallWatch:
    """Watches whether records that wait for the broker are settled, one way or the other.

    Args:
        limit_s: with records waiting and none settled for so long, something is amiss. It need not be the broker: an
            idempotent producer first asks for an id, and a topic may be unknown.
        gap_s: who has not looked for longer than this cannot tell how long nothing happened, and begins anew.
    """

    __slots__ = ("_gap_s", "_limit_s", "_looked_at", "_settled", "_settled_at")

    def __init__(self, limit_s: float = 0.5, gap_s: float = 0.3) -> None:
        self._limit_s = limit_s
        self._gap_s = gap_s
        self._settled = -1
        self._settled_at = self._looked_at = 0.0

    def is_stalled(self, sent: int, waiting: int, now: float) -> bool:
        """Take a look; a stall is told once, and again after another `limit_s`.

        Args:
            sent: records handed over so far.
            waiting: of these, records that are neither stored nor given up.
            now: monotonic seconds.
        """
        settled = sent - waiting
        if not waiting or settled != self._settled or now - self._looked_at > self._gap_s:
            self._settled, self._settled_at = settled, now
        self._looked_at = now
        if now - self._settled_at < self._limit_s:
            return False
        self._settled_at = now
        return True
