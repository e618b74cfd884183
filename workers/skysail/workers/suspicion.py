"""Keeps the loop's picture of suspects up to date: read from the store whenever partitions were gained."""

from __future__ import annotations

import structlog

from skysail.topics.broker import RecordConsumer
from skysail.topics.errors import UnavailableError
from skysail.workers.intake import Intake
from skysail.workers.stopping import Patience
from skysail.workers.suspects import SuspectStore

__all__ = ["Suspicion"]

_log = structlog.get_logger(__name__)


class Suspicion:
    """Whether crash counts must be read again before anything that was polled may run.

    Args:
        suspects: crash counts in the store.
        intake: told of them.
        patience: waits while the store is away.
    """

    def __init__(self, suspects: SuspectStore, intake: Intake, patience: Patience) -> None:
        self._suspects = suspects
        self._intake = intake
        self._patience = patience
        self._stale = False

    def raise_doubt(self) -> None:
        """Partitions were gained: their records may have ended another worker."""
        self._stale = True

    def settle(self, consumer: RecordConsumer) -> bool:
        """Read the counts if they are in doubt, however long the store is away; False: asked to stop meanwhile."""
        attempt = 0
        while self._stale:
            self._stale = False
            try:
                self._intake.suspect(self._suspects.load())
            except UnavailableError as error:
                self._stale = True
                if attempt == 0:
                    _log.warning("suspects_not_read", error=str(error), action="trying again")
                consumer.keep_alive()  # the group must not lose this member meanwhile
                if not self._patience.wait(attempt):
                    return False
                attempt += 1
        return True
