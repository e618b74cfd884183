"""Whether a version's workers are ready, by their heartbeats; and why not, in their own words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from skysail.admin.managers import Manager
from skysail.topics.errors import DeployError
from skysail.topics.specs import ModelSpec, WorkerState
from skysail.topics.store.workers import WorkerDirectory

__all__ = ["Readiness"]

_LOOK_EVERY_S = 0.1


class Readiness:
    """Waits for workers."""

    def __init__(self, workers: WorkerDirectory, manager: Manager, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers = workers
        self._manager = manager
        self._clock = clock

    async def is_ready(self, spec: ModelSpec) -> bool:
        """Whether a worker of the version answers now."""
        return bool(await self._workers.ready(spec.name, spec.version))

    async def wait(self, spec: ModelSpec, *, replicas: int, timeout_s: float) -> None:
        """Wait until so many workers are ready.

        Raises:
            DeployError: as soon as one says that it failed, with its traceback; or after `timeout_s`.
        """
        limit = self._clock() + timeout_s
        while True:
            alive = await self._workers.alive(spec.name, spec.version)
            ready = sum(beat.state is WorkerState.READY for beat in alive)
            if ready >= replicas:
                return
            failed = next((beat.error for beat in alive if beat.state is WorkerState.FAILED), None)
            failed = failed or self._manager.failure(spec.name, spec.version)
            if failed:
                message = f"a worker of model {spec.name} version {spec.version} failed to load it"
                raise DeployError(message, failed)
            if self._clock() > limit:
                message = (
                    f"model {spec.name} version {spec.version}: {ready} of {replicas} workers were ready "
                    f"after {timeout_s:g} s"
                )
                raise DeployError(message)
            await asyncio.sleep(_LOOK_EVERY_S)
