"""The books of one fault: what was sent, and what became of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

__all__ = ["Account"]


@dataclass
class Account:
    """Every query ends up in exactly one column; `lost` is what must be zero.

    Attributes:
        fault: what was injected.
        answers: how many answers each query had, by its id.
        failed: reason of each honest failure, by id: an error that told the caller what to do.
        lost: what happened to each query without an honest outcome, by id: silence, a broken answer, a wrong one.
        ok_times_s: when each good answer came, on one clock.
    """

    fault: str
    answers: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    ok_times_s: list[float] = field(default_factory=list)

    def send(self, query: str) -> None:
        """A query is about to be sent."""
        self.sent.add(query)

    def answer(self, query: str, now_s: float) -> None:
        """A right answer came."""
        self.answers[query] += 1
        self.ok_times_s.append(now_s)

    def close(self) -> None:
        """What was sent and is in no column is lost."""
        for query in self.sent - self.answers.keys() - self.failed.keys() - self.lost.keys():
            self.lost[query] = "no outcome"

    @property
    def ok(self) -> int:
        """Queries with a right answer."""
        return len(self.answers)

    @property
    def duplicated(self) -> int:
        """Answers beyond the first."""
        return sum(count - 1 for count in self.answers.values())

    def recovery_s(self, since_s: float) -> float:
        """The longest time without any good answer, from the fault on: how long callers could not be served."""
        times = [since_s, *sorted(time for time in self.ok_times_s if time >= since_s)]
        return max((after - before for before, after in pairwise(times)), default=0.0)

    def line(self, since_s: float) -> str:
        """The line that `make chaos` prints."""
        return (
            f"fault={self.fault} sent={len(self.sent)} ok={self.ok} failed={len(self.failed)} lost={len(self.lost)} "
            f"duplicated={self.duplicated} recovery_s={self.recovery_s(since_s):.1f}"
        )
