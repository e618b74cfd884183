"""Once a second: save the numbers for the other processes of the port, and log what went away or came back."""

from __future__ import annotations

import asyncio

import structlog

from skysail.frontend.metadata import Metadata
from skysail.frontend.metrics import FrontendMetrics
from skysail.topics.client import PredictionClient

__all__ = ["Watch"]

_log = structlog.get_logger(__name__)

_EVERY_S = 1.0


class Watch:
    """A frontend's look at itself."""

    def __init__(self, client: PredictionClient, metadata: Metadata, metrics: FrontendMetrics) -> None:
        self._client = client
        self._metadata = metadata
        self._metrics = metrics
        self._missing: list[str] | None = None
        self._unsaved = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._look()
        self._task = asyncio.create_task(self._run(), name="watch")

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            self._look()
            self._save(self._client.in_flight)

    def _look(self) -> None:
        missing = self._metadata.missing()
        if missing != self._missing:
            self._missing = missing
            if missing:
                _log.warning("not_ready", missing=missing)
            else:
                _log.info("ready")

    def _save(self, in_flight: int) -> None:
        try:
            self._metrics.save(in_flight)
        except OSError as error:  # a full disk must not end the watch; what is scraped here stays right
            if not self._unsaved:
                _log.warning("metrics_not_saved", error=str(error))
            self._unsaved = True
        else:
            self._unsaved = False

    async def stop(self) -> None:
        """End, leaving the last numbers."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._save(0)
        _log.info("drained")
