"""Workers as child processes of the admin process."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from skysail.admin.supervisor import ChildSpec, Supervisor, log_tail
from skysail.topics.errors import NotFoundError

__all__ = ["LocalManager"]

#: The worker's exit code for a model that could not be loaded: trying again would fail again.
LOAD_FAILED = 3
_DRAIN_S = 30.0
_EVIDENCE_LINES = 60


class LocalManager:
    """Runs workers in slots. A slot keeps its state folder and its log, so a worker that died finds its crash journal.

    Args:
        logs: folder for one log file a slot.
        state: folder for one state folder a slot. Everything else the workers have from the admin's environment.
    """

    starts_workers = True

    def __init__(self, logs: Path, state: Path) -> None:
        self._logs = logs
        self._state = state
        self._supervisor = Supervisor()
        self._replicas: dict[tuple[str, str], int] = {}

    def _slot(self, name: str, version: str, number: int) -> str:
        return f"{name}.{version}.{number}"  # names hold no dots

    def _log(self, slot: str) -> Path:
        return self._logs / f"worker-{slot}.log"

    def _spec(self, name: str, version: str, number: int) -> ChildSpec:
        slot = self._slot(name, version, number)
        environment = {
            "SKYSAIL_WORKER__MODEL": name,
            "SKYSAIL_WORKER__VERSION": version,
            "SKYSAIL_WORKER__STATE": str(self._state / slot),
        }
        return ChildSpec(
            name=slot,
            command=(sys.executable, "-m", "skysail.workers"),
            environment=environment,
            log=self._log(slot),
            stop_grace_s=_DRAIN_S,
            final_exits=frozenset({LOAD_FAILED}),
        )

    async def scale(self, name: str, version: str, replicas: int) -> None:
        """Start or drain workers until so many run. Raises ManagerError."""
        known = self._replicas.get((name, version), 0)
        dead = [number for number in range(known) if self._gave_up(self._slot(name, version, number))]
        for number in dead:
            await self._supervisor.stop(self._slot(name, version, number))
            if number < replicas:
                await self._supervisor.start(self._spec(name, version, number))
        for number in range(known, replicas):
            await self._supervisor.start(self._spec(name, version, number))
            self._replicas[name, version] = number + 1
        surplus = [self._slot(name, version, number) for number in range(replicas, known) if number not in dead]
        self._replicas[name, version] = replicas
        await asyncio.gather(*(self._supervisor.stop(slot) for slot in surplus))

    def _gave_up(self, slot: str) -> bool:
        status = self._supervisor.status().get(slot)
        return status is not None and status.last_code == LOAD_FAILED and status.pid is None

    def failure(self, name: str, version: str) -> str | None:
        """The end of the log of a worker that could not load its model."""
        for number in range(self._replicas.get((name, version), 0)):
            slot = self._slot(name, version, number)
            if self._gave_up(slot):
                return log_tail(self._log(slot), _EVIDENCE_LINES)
        return None

    def logs(self, name: str, version: str, lines: int) -> dict[str, str]:
        """The end of each log of a version, by slot."""
        prefix = f"worker-{name}.{version}."
        found = {path.stem.removeprefix("worker-"): log_tail(path, lines) for path in self._logs.glob(f"{prefix}*.log")}
        if not found:
            message = f"model {name} version {version} has no logs: none of its workers was ever started here"
            raise NotFoundError(message)
        return dict(sorted(found.items()))

    async def close(self) -> None:
        """Drain and stop all workers."""
        self._replicas.clear()
        await self._supervisor.stop_all()
