"""Hands outcomes over and does not give up: to the store, to Kafka's reply topics, to the dead letters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import structlog
from redis.exceptions import ResponseError

from skysail.topics.errors import UnavailableError
from skysail.topics.records import Reply
from skysail.topics.store.connection import Command
from skysail.workers.finished import DeadLetter, Finished
from skysail.workers.outcomes import OutcomeWriter
from skysail.workers.publishing import Publisher
from skysail.workers.stopping import Patience
from skysail.workers.work import Work

__all__ = ["Delivery", "Store"]

_log = structlog.get_logger(__name__)

#: An answer that no later try will change: somebody else's key is in the way.
_FINAL = "WRONGTYPE"


class Store(Protocol):
    """The store's end: many commands, one round trip."""

    def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Answers in order; raises UnavailableError when the store is away."""
        ...


class Delivery:
    """Delivers finished batches.

    Args:
        writer: says what goes where.
        store: owned by the calling thread.
        publisher: the way to Kafka.
        patience: waits between tries.
        make_topic: makes a dead-letter topic that is missing; False when the broker does not answer, raises
            ConflictError when it refuses.
    """

    def __init__(
        self,
        writer: OutcomeWriter,
        store: Store,
        publisher: Publisher,
        patience: Patience,
        make_topic: Callable[[str], str | None],
    ) -> None:
        self._writer = writer
        self._store = store
        self._publisher = publisher
        self._patience = patience
        self._make_topic = make_topic

    def deliver(self, finished: Finished) -> bool:
        """Store every outcome, however long store or broker are away.

        Returns:
            False when the process was asked to stop before that: the records are handed back, uncommitted.
        """
        commands, for_kafka = self._writer.commands(finished)
        if finished.dead_letters and not self._bury(finished.dead_letters):
            return False
        if for_kafka and not self._answer_on_kafka(for_kafka, finished, commands):
            return False
        return self._execute(commands) if commands else True

    def _bury(self, letters: list[DeadLetter]) -> bool:
        refused = self._publisher.publish([self._writer.dead_letter(letter) for letter in letters])
        again = []
        for record, reason in refused or ():
            failure = self._make_topic(record.topic)
            if failure is None:
                self._publisher.forget(record.topic)
                again.append(record)
            else:
                _log.error("dead_letter_refused", topic=record.topic, reason=reason, error=failure)
        if again:
            refused = self._publisher.publish(again)
            for record, reason in refused or ():
                _log.error("dead_letter_refused", topic=record.topic, reason=reason)
        return refused is not None

    def _answer_on_kafka(self, answers: list[tuple[Work, Reply]], finished: Finished, commands: list[Command]) -> bool:
        records = [self._writer.reply_record(work, reply) for work, reply in answers]
        refused = self._publisher.publish(records)
        if refused is None:
            return False
        reasons = {id(record): reason for record, reason in refused}
        for (work, reply), record in zip(answers, records, strict=True):
            reason = reasons.get(id(record))
            if reason is not None:  # nobody can read it there, so it is kept as a job
                _log.warning("reply_refused", topic=record.topic, reason=reason, kept="as a job")
                commands.append(self._writer.job_command(work.query.id, reply, finished))
        return True

    def _execute(self, commands: list[Command]) -> bool:
        attempt = 0
        while True:
            try:
                answers = self._store.execute(commands)
            except UnavailableError as error:
                problem = str(error)
            else:
                commands, problem = _rejected(commands, answers)
                if not commands:
                    if attempt:
                        _log.info("store_back", tries=attempt + 1)
                    return True
            if attempt == 0:
                _log.warning("outcomes_not_stored", error=problem, action="trying again")
            if not self._patience.wait(attempt):
                _log.warning("outcomes_handed_back", error=problem)
                return False
            attempt += 1


def _rejected(commands: list[Command], answers: list[Any]) -> tuple[list[Command], str]:
    """Outcomes to be tried again (out of memory, disk full, not allowed yet), and why."""
    again: list[Command] = []
    problem = ""
    for command, answer in zip(commands, answers, strict=True):
        if isinstance(answer, ResponseError):
            problem = f"{command[0]}: {answer}"
            if _is_outcome(command) and _FINAL not in problem:
                again.append(command)
            else:
                _log.error("store_refuses", key=command[1], error=problem)
    return again, problem


def _is_outcome(command: Command) -> bool:
    """Whether a query's outcome would be lost without it: a reply or a job, but no cached answer or expiry."""
    return command[0] == "XADD" or (command[0], *command[3:4]) == ("SET", "NX")
