"""How long to wait before a process is started again."""

from __future__ import annotations

__all__ = ["Backoff"]


class Backoff:
    """Doubling pauses, forgotten after a healthy run. Pure: it is told how long each run was.

    Args:
        first_s: pause after the first exit.
        longest_s: no pause is longer.
        healthy_s: a run of at least this length starts the count anew.
    """

    def __init__(self, first_s: float = 0.2, longest_s: float = 30.0, healthy_s: float = 60.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._healthy_s = healthy_s
        self._pause_s = 0.0

    def ended(self, ran_s: float) -> None:
        """Note that a run of `ran_s` seconds has ended."""
        repeated = self._pause_s > 0 and ran_s < self._healthy_s
        self._pause_s = min(self._longest_s, self._pause_s * 2) if repeated else self._first_s

    @property
    def pause_s(self) -> float:
        """Seconds to wait before the next run; 0 before the first end."""
        return self._pause_s
