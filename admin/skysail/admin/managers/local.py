"""Workers as child processes of the admin process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from skysail.admin.child_log import log_tail
from skysail.admin.managers import Replica
from skysail.admin.managers.orphans import end_orphan
from skysail.admin.supervisor import ChildSpec, ChildStatus, Supervisor
from skysail.topics.errors import NotFoundError

__all__ = ["LocalManager"]

#: The worker's exit code for a model that could not be loaded: trying again would fail again.
LOAD_FAILED = 3
#: A worker that has ended so often without getting ready will not get ready.
_EXITS_TOO_MANY = 3
_DRAIN_S = 30.0
_EVIDENCE_LINES = 60


class LocalManager:
    """Runs workers in slots. A slot keeps its state folder and its log, so a worker that died finds its crash journal.

    Args:
        logs: folder for one log file a slot.
        state: folder for one state folder a slot.
        environment: of every worker, over the admin's own.
        command: that runs a worker, which finds its model and version in the environment.
        drain_s: that a worker which is told to end may take.
    """

    starts_workers = True

    def __init__(
        self,
        logs: Path,
        state: Path,
        environment: Mapping[str, str] | None = None,
        command: tuple[str, ...] = (sys.executable, "-m", "skysail.workers"),
        drain_s: float = _DRAIN_S,
    ) -> None:
        self._logs = logs
        self._state = state
        self._environment = dict(environment or {})
        self._command = command
        self._drain_s = drain_s
        self._supervisor = Supervisor()
        #: Slots of each version, and how often each had been restarted when the version was last scaled.
        self._slots: dict[tuple[str, str], dict[str, int]] = {}

    def _log(self, slot: str) -> Path:
        return self._logs / f"worker-{slot}.log"

    def _spec(self, name: str, version: str, slot: str) -> ChildSpec:
        environment = {
            **self._environment,
            "SKYSAIL_WORKER__MODEL": name,
            "SKYSAIL_WORKER__VERSION": version,
            "SKYSAIL_WORKER__STATE": str(self._state / slot),
        }
        return ChildSpec(
            name=slot,
            command=self._command,
            environment=environment,
            log=self._log(slot),
            stop_grace_s=self._drain_s,
            final_exits=frozenset({LOAD_FAILED}),
        )

    async def scale(self, name: str, version: str, replicas: int) -> None:
        """Start or drain workers until so many run. Raises ManagerError."""
        slots = self._slots.setdefault((name, version), {})
        wanted = [f"{name}.{version}.{number}" for number in range(replicas)]  # names hold no dots
        surplus = [slot for slot in slots if slot not in wanted or self._gave_up(slot)]
        for slot in surplus:
            del slots[slot]
        await asyncio.gather(*(self._supervisor.stop(slot) for slot in surplus))
        fresh = [slot for slot in wanted if slot not in slots]
        await asyncio.gather(*(end_orphan(self._state / slot, self._drain_s) for slot in fresh))
        for slot in wanted:
            if slot not in slots:
                await self._supervisor.start(self._spec(name, version, slot))
            slots[slot] = self._status(slot).restarts
        if not slots:
            del self._slots[name, version]

    def _status(self, slot: str) -> ChildStatus:
        return self._supervisor.status()[slot]

    def _gave_up(self, slot: str) -> bool:
        status = self._status(slot)
        return status.last_code == LOAD_FAILED and status.pid is None

    def failure(self, name: str, version: str) -> str | None:
        """The end of the log of a worker that could not load its model, or that ends again and again."""
        for slot, restarts_before in self._slots.get((name, version), {}).items():
            status = self._status(slot)
            if self._gave_up(slot):
                return log_tail(self._log(slot), _EVIDENCE_LINES)
            if status.restarts - restarts_before >= _EXITS_TOO_MANY:
                said = log_tail(self._log(slot), _EVIDENCE_LINES)
                return f"{said}\n{slot} ended {status.restarts} times, at last with {status.last_exit}"
        return None

    def replicas(self) -> list[Replica]:
        """All slots."""
        return [
            Replica(
                slot=slot,
                model=model,
                version=version,
                state=(status := self._status(slot)).state,
                pid=status.pid,
                restarts=status.restarts,
                last_exit=status.last_exit,
            )
            for (model, version), slots in sorted(self._slots.items())
            for slot in sorted(slots)
        ]

    def logs(self, name: str, version: str, lines: int) -> dict[str, str]:
        """The end of each log of a version, by slot."""
        files = self._logs.glob(f"worker-{name}.{version}.*.log")
        found = {path.stem.removeprefix("worker-"): log_tail(path, lines) for path in files}
        if not found:
            message = f"model {name} version {version} has no logs: none of its workers was ever started here"
            raise NotFoundError(message)
        return dict(sorted(found.items()))

    async def close(self) -> None:
        """Drain and stop all workers."""
        self._slots.clear()
        await self._supervisor.stop_all()
