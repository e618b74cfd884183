"""Whether a version's workers are ready, by their heartbeats; and why not, in their own words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from skysail.admin.managers import Manager
from skysail.topics.errors import DeployError, NotFoundError
from skysail.topics.specs import ModelSpec, WorkerHeartbeat, WorkerState
from skysail.topics.store.workers import WorkerDirectory

__all__ = ["Readiness"]

_LOOK_EVERY_S = 0.1
_EVIDENCE_LINES = 30


class Readiness:
    """Waits for workers.

    Args:
        workers, manager: who knows of them.
        timeout_s: how long a version may take to become ready, unless somebody says otherwise.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        workers: WorkerDirectory,
        manager: Manager,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = workers
        self._manager = manager
        self._timeout_s = timeout_s
        self._clock = clock

    async def is_ready(self, spec: ModelSpec, replicas: int = 1) -> bool:
        """Whether so many workers of the version answer now."""
        return len(await self._workers.ready(spec.name, spec.version)) >= replicas

    async def wait(self, spec: ModelSpec, *, replicas: int, timeout_s: float | None = None) -> None:
        """Wait until so many workers are ready.

        Raises:
            DeployError: as soon as one says that it failed, with its traceback; or when the time is over.
            UnavailableError: when the store is away.
        """
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        limit = self._clock() + limit_s
        alive = await self._workers.alive(spec.name, spec.version)
        known = {beat.worker_id for beat in _failed(alive)}  # failures of an earlier attempt, not of this one
        while (ready := sum(beat.state is WorkerState.READY for beat in alive)) < replicas:
            errors = [beat.error for beat in _failed(alive) if beat.worker_id not in known]
            why = errors[0] if errors else self._manager.failure(spec.name, spec.version)
            if why is not None:
                message = f"a worker of model {spec.name} version {spec.version} failed to load it"
                raise DeployError(message, why)
            if self._clock() >= limit:
                raise self._late(spec, f"{ready} of {replicas} workers were ready after {limit_s:g} s")
            await asyncio.sleep(_LOOK_EVERY_S)
            alive = await self._workers.alive(spec.name, spec.version)

    def _late(self, spec: ModelSpec, what: str) -> DeployError:
        message = f"model {spec.name} version {spec.version}: {what}"
        try:
            logs = self._manager.logs(spec.name, spec.version, _EVIDENCE_LINES)
        except NotFoundError:
            return DeployError(message)
        return DeployError(message, "\n".join(f"the end of the log of {slot}:\n{text}" for slot, text in logs.items()))


def _failed(alive: list[WorkerHeartbeat]) -> list[WorkerHeartbeat]:
    return [beat for beat in alive if beat.state is WorkerState.FAILED]
