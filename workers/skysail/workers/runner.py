"""Runs one batch from journal to stored outcome."""

from __future__ import annotations

import time
from collections.abc import Sequence

from skysail.workers.commits import Committer
from skysail.workers.delivery import Delivery
from skysail.workers.execution import Executor
from skysail.workers.finished import Finished
from skysail.workers.intake import Intake, record_id_of
from skysail.workers.journal import BatchJournal
from skysail.workers.keeper import ConsumerKeeper
from skysail.workers.pacing import Pacing
from skysail.workers.recording import Recorder
from skysail.workers.work import Work

__all__ = ["BatchRunner"]


class BatchRunner:
    """Runs batches and hands their outcomes over; the consumer is lent to the keeper meanwhile.

    Args:
        journal: open; notes what runs.
        keeper: keeps the group's member alive.
        executor: runs the model.
        delivery: stores outcomes.
        intake, committer: told of what is stored.
        pacing: told what was left waiting.
        recorder: counts.
    """

    def __init__(
        self,
        *,
        journal: BatchJournal,
        keeper: ConsumerKeeper,
        executor: Executor,
        delivery: Delivery,
        intake: Intake,
        committer: Committer,
        pacing: Pacing,
        recorder: Recorder,
    ) -> None:
        self._journal = journal
        self._keeper = keeper
        self._executor = executor
        self._delivery = delivery
        self._intake = intake
        self._committer = committer
        self._pacing = pacing
        self._recorder = recorder

    def run(self, works: Sequence[Work], finished: Finished) -> bool:
        """Run `works` (there may be none), and store their outcomes with what `finished` holds already.

        Returns:
            False when the process was asked to stop before the outcomes could be stored.
        """
        self._keeper.lend()
        try:
            if works:
                self._predict(works, finished)
            stored = self._delivery.deliver(finished)
        finally:
            self._keeper.reclaim()
        if stored:
            self._note_stored(finished)
        return stored

    def _predict(self, works: Sequence[Work], finished: Finished) -> None:
        self._pacing.batch_begins()
        start_ns = time.monotonic_ns()
        # The note outlives the process: what is noted when it dies is a suspect.
        self._journal.begin([record_id_of(work) for work in works])
        self._executor.run(works, finished)
        self._journal.clear()
        if finished.rows:
            queue_s = (start_ns - works[0].polled_ns) / 1e9
            self._recorder.ran(len(works), finished, queue_s, self._pacing.cap)

    def _note_stored(self, finished: Finished) -> None:
        self._committer.done([work.record for work, _ in finished.answers])
        self._pacing.replied(len(finished.answers))
        if finished.dead_letters:  # one that cannot be answered has no other trace
            self._committer.done([letter.record for letter in finished.dead_letters])
        for work, _ in finished.answers:
            if work.crashes:
                self._intake.settle(work)
        self._recorder.stored(finished)
