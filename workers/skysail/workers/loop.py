"""The worker's loop: poll, batch, predict, answer, commit. One thread does all of it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from skysail.topics.broker import RecordConsumer
from skysail.workers.commits import Committer
from skysail.workers.finished import Finished
from skysail.workers.intake import Intake
from skysail.workers.pacing import Pacing
from skysail.workers.runner import BatchRunner
from skysail.workers.stopping import StopRequest
from skysail.workers.subscription import Subscription
from skysail.workers.suspicion import Suspicion
from skysail.workers.work import Work

__all__ = ["WorkerLoop"]


class WorkerLoop:
    """Turns records into stored outcomes until it is asked to stop.

    Args:
        consumer: a group member, not yet subscribed; owned by the thread that calls `run`.
        subscription: which topics to read now.
        intake: queues what was polled.
        suspicion: keeps the intake's crash counts up to date.
        pacing: how much to poll, and when a batch goes.
        runner: runs batches.
        committer: commits what is stored.
        stop: whether to stop.
    """

    def __init__(
        self,
        *,
        consumer: RecordConsumer,
        subscription: Subscription,
        intake: Intake,
        suspicion: Suspicion,
        pacing: Pacing,
        runner: BatchRunner,
        committer: Committer,
        stop: StopRequest,
    ) -> None:
        self._consumer = consumer
        self._subscription = subscription
        self._intake = intake
        self._suspicion = suspicion
        self._pacing = pacing
        self._runner = runner
        self._committer = committer
        self._stop = stop

    def run(self) -> None:
        """Work until asked to stop; what is in hand then has been answered, or is handed back uncommitted."""
        while not self._stop.requested and self.turn():
            pass

    def turn(self) -> bool:
        """Poll once and run at most one batch. False when the outcomes could not be stored before the stop."""
        topics = self._subscription.changed()
        if topics is not None:
            self._consumer.subscribe(topics)
        finished = Finished()
        room = self._pacing.room()
        if room and not self._poll(room, finished):
            return False
        works: Sequence[Work] = ()
        if self._intake and (not room or self._pacing.is_due()):
            pacing = self._pacing
            works = self._intake.next_batch(pacing.cap, _now_ms(), time.monotonic_ns(), finished, pacing.answer_ms)
        if (works or finished) and not self._runner.run(works, finished):
            return False
        self._committer.commit_if_due(self._consumer)
        return True

    def _poll(self, room: int, finished: Finished) -> bool:
        timeout_s = self._pacing.poll_timeout_s(self._committer.seconds_until_due())
        records = self._consumer.poll(room, timeout_s)
        if not self._suspicion.settle(self._consumer):
            return False
        if records:
            self._intake.take(records, _now_ms(), time.monotonic_ns(), finished)
        self._pacing.arrived(len(records))
        return True


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
