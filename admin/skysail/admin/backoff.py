"""How long to wait before a process is started again."""

from __future__ import annotations

__all__ = ["Backoff"]


class Backoff:
    """Doubling pauses, forgotten after a healthy run. Pure.

    Args:
        first_s: pause after the first exit.
        longest_s: no pause is longer.
        healthy_s: a run of at least this length starts the count anew.
    """

    def __init__(self, first_s: float = 0.2, longest_s: float = 30.0, healthy_s: float = 60.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._healthy_s = healthy_s
        self._exits = 0

    def after_exit(self, ran_s: float) -> float:
        """Seconds to wait, after a run of `ran_s` seconds."""
        if ran_s >= self._healthy_s:
            self._exits = 0
        self._exits += 1
        return min(self._longest_s, self._first_s * 2.0 ** (self._exits - 1))
