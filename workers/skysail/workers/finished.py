"""What a turn of the loop has ready to be handed over: outcomes and dead letters."""

from __future__ import annotations

import msgspec

from skysail.topics.records import ConsumedRecord, Outcome, Reply
from skysail.workers.work import Work

__all__ = ["DeadLetter", "Finished"]


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """A record that goes to its topic's dead letters.

    Attributes:
        record: as it came.
        reason: a short name, such as ``undecodable`` or ``crash_limit``.
        error: what was wrong, for people.
    """

    record: ConsumedRecord
    reason: str
    error: str


class Finished:
    """Outcomes that are handed over together; one of these is one round trip to the store.

    Attributes:
        answers: works with their replies.
        dead_letters: records for the dead-letter topics.
        rows: rows that predict was given.
        predict_us: duration of predict, in microseconds.
    """

    __slots__ = ("answers", "dead_letters", "predict_us", "rows")

    def __init__(self) -> None:
        self.answers: list[tuple[Work, Reply]] = []
        self.dead_letters: list[DeadLetter] = []
        self.rows = 0
        self.predict_us = 0

    def __bool__(self) -> bool:
        """Whether there is anything to hand over."""
        return bool(self.answers or self.dead_letters)

    def fail(self, work: Work, outcome: Outcome, cause: str, queue_us: int = 0) -> None:
        """Give a work an outcome other than ok; `cause` is shown to the caller."""
        self.answers.append(
            (work, Reply(work.query.id, outcome.value, cause.encode("utf-8", "backslashreplace"), False, queue_us))
        )

    def bury(self, record: ConsumedRecord, reason: str, error: str) -> None:
        """Send a record to the dead letters."""
        self.dead_letters.append(DeadLetter(record, reason, error))
