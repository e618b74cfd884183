"""Produces replies and dead letters, and tells what cannot ever be produced from what must be tried again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import structlog

from skysail.topics.broker import FailureCallback, RecordProducer
from skysail.topics.errors import PayloadTooLargeError, RejectedError
from skysail.workers.outcomes import Outgoing
from skysail.workers.stopping import Patience

__all__ = ["Publisher"]

_log = structlog.get_logger(__name__)

_FLUSH_S = 5.0
#: How long a topic that does not exist is remembered as such.
_MISSING_S = 10.0


class Publisher:
    """Produces records and waits until the broker has stored them.

    Args:
        producer: a factory, given the callback for failures.
        patience: waits between tries while the broker is away.
        ask_s: how long the broker may take to say whether a topic exists.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        producer: Callable[[FailureCallback], RecordProducer],
        patience: Patience,
        ask_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._producer = producer(self._note_failure)
        self._patience = patience
        self._ask_s = ask_s
        self._clock = clock
        self._failed: dict[bytes | None, str] = {}
        self._known: set[str] = set()
        self._missing: dict[str, float] = {}

    def publish(self, records: Sequence[Outgoing]) -> list[tuple[Outgoing, str]] | None:
        """Store records on the broker, however long it is away.

        Returns:
            Records that the broker will never take (no such topic, too large), with the reason; None when the process
            was asked to stop before all were stored.
        """
        refused: list[tuple[Outgoing, str]] = []
        waiting = list(records)
        attempt = 0
        while waiting:
            waiting = self._try(waiting, refused)
            if waiting and not self._patience.wait(attempt):
                return None
            attempt += 1
        return refused

    def _try(self, records: list[Outgoing], refused: list[tuple[Outgoing, str]]) -> list[Outgoing]:
        """Send once; returns what has to be sent again."""
        self._failed.clear()
        again: list[Outgoing] = []
        sent: list[Outgoing] = []
        for record in records:
            exists = self._exists(record.topic)
            if exists is None:
                again.append(record)
            elif not exists:
                refused.append((record, f"topic {record.topic} does not exist"))
            else:
                self._send(record, sent, again, refused)
        if self._producer.flush(_FLUSH_S):
            self._producer.abandon()
        return again + self._unstored(sent)

    def _send(
        self,
        record: Outgoing,
        sent: list[Outgoing],
        again: list[Outgoing],
        refused: list[tuple[Outgoing, str]],
    ) -> None:
        try:
            self._producer.send(record.topic, -1, record.value, record.key, record.headers)
            sent.append(record)
        except PayloadTooLargeError as error:
            refused.append((record, str(error)))
        except RejectedError as error:
            _log.warning("produce_failed", topic=record.topic, error=str(error))
            again.append(record)

    def _unstored(self, sent: list[Outgoing]) -> list[Outgoing]:
        if not self._failed:
            return []
        # A failure names its record's key only; where that is absent, none can be told from the others.
        failed = [record for record in sent if None in self._failed or record.key in self._failed]
        _log.warning("produce_failed", records=len(failed), error=next(iter(self._failed.values())))
        self._known.clear()  # the topic may be gone: ask again
        return failed

    def _note_failure(self, key: bytes | None, reason: str) -> None:
        self._failed[key] = reason

    def _exists(self, topic: str) -> bool | None:
        """Whether the topic exists; None while the broker does not say."""
        if topic in self._known:
            return True
        until = self._missing.get(topic)
        if until is not None and self._clock() < until:
            return False
        if self._producer.learn(topic, self._ask_s):
            self._known.add(topic)
            self._missing.pop(topic, None)
            return True
        if not self._producer.probe(self._ask_s):
            return None
        self._missing[topic] = self._clock() + _MISSING_S
        return False

    def forget(self, topic: str) -> None:
        """The topic has just been made: ask again."""
        self._missing.pop(topic, None)

    def close(self) -> None:
        """Let go of the broker."""
        self._producer.close()
