"""The stack in the foreground: starts its parts, waits until each answers, and stops them in order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import httpx
import psutil

from skysail.admin.child_log import log_size, log_tail
from skysail.admin.embedded.broker import broker_answers, broker_child, broker_environment
from skysail.admin.embedded.given import check_given
from skysail.admin.embedded.options import StackError, StackOptions
from skysail.admin.embedded.ports import check_ports
from skysail.admin.embedded.state import StateFolder, UpInfo
from skysail.admin.embedded.store import store_answers, store_child
from skysail.admin.supervisor import ChildSpec, Supervisor

__all__ = ["Stack"]

_LOOK_EVERY_S = 0.05
_EVIDENCE_LINES = 20
_FRONTEND_GRACE_S = 15.0
#: Its workers drain first, for up to 30 s.
_ADMIN_GRACE_S = 40.0
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Part = tuple[ChildSpec, Callable[[], Awaitable[bool]]]


class Stack:
    """Everything that `skysail up` runs.

    Args:
        options: addresses and ports.
        on_ready: called once all parts answer.
    """

    def __init__(self, options: StackOptions, on_ready: Callable[[UpInfo], None]) -> None:
        self._options = options
        self._folder = StateFolder(options.state)
        self._on_ready = on_ready
        self._supervisor = Supervisor()

    async def run(self) -> None:
        """Run until SIGTERM, SIGINT or SIGHUP; then stop all parts. Run it on the main thread.

        Raises:
            StackError: for a port in use, a missing part, a stack that runs here already, a part that does not start.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, stop.set)
        self._folder.make()
        with self._folder.lock():
            check_ports(self._options)
            try:
                await self._run_until(stop)
            finally:
                await self._stop()

    async def _run_until(self, stop: asyncio.Event) -> None:
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await stopping
        starting.cancel()
        await asyncio.wait({starting})

    async def _start(self) -> None:
        options = self._options
        await check_given(options)
        await self._bring_up(self._services())
        async with httpx.AsyncClient(timeout=2, trust_env=False) as http:  # a proxy is not for our own machine
            await self._bring_up(
                [
                    (self._own("admin", options.admin_command, _ADMIN_GRACE_S), _is_ready(http, options.admin_url)),
                    (
                        self._own("frontend", options.frontend_command, _FRONTEND_GRACE_S),
                        _is_ready(http, options.frontend_url),
                    ),
                ]
            )
        info = UpInfo(
            pid=os.getpid(),
            created_s=psutil.Process().create_time(),
            frontend=options.frontend_url,
            admin=options.admin_url,
            kafka=options.kafka_address,
            redis=options.redis_url,
            embedded_broker=options.kafka is None,
            embedded_store=options.redis is None,
        )
        self._folder.write(info)
        self._on_ready(info)

    def _services(self) -> list[Part]:
        """Broker and store, unless somebody else runs them."""
        options, logs = self._options, self._folder.logs
        parts: list[Part] = []
        if options.kafka is None:
            broker = broker_child(options.broker_port, logs / "broker.log")
            parts.append((broker, lambda: broker_answers(options.kafka_address)))
        if options.redis is None:
            store = store_child(options.store_port, self._folder.store.resolve(), logs / "store.log")
            parts.append((store, lambda: store_answers(options.redis_url)))
        return parts

    def _own(self, part: str, command: tuple[str, ...], grace_s: float) -> ChildSpec:
        return ChildSpec(
            name=part,
            command=command,
            environment=self._environment(),
            log=self._folder.logs / f"{part}.log",
            stop_grace_s=grace_s,
        )

    def _environment(self) -> dict[str, str]:
        options = self._options
        return {
            **(broker_environment() if options.kafka is None else {}),
            "SKYSAIL_NAMESPACE": options.namespace,
            "SKYSAIL_KAFKA__BOOTSTRAP_SERVERS": options.kafka_address,
            "SKYSAIL_REDIS__URL": options.redis_url,
            "SKYSAIL_ARTIFACTS__PATH": str(self._folder.artifacts(options.namespace).resolve()),
            "SKYSAIL_ARTIFACTS__SIGNING_KEY_FILE": str(self._folder.signing_key.resolve()),
            "SKYSAIL_FRONTEND__HOST": options.host,
            "SKYSAIL_FRONTEND__PORT": str(options.frontend_port),
            "SKYSAIL_FRONTEND__WORKERS": str(options.frontend_workers),
            "SKYSAIL_ADMIN__HOST": options.host,
            "SKYSAIL_ADMIN__PORT": str(options.admin_port),
            "SKYSAIL_ADMIN__LOGS": str(self._folder.logs.resolve()),
        }

    async def _bring_up(self, parts: list[Part]) -> None:
        """Start parts side by side and wait for all; the first failure ends the wait for the others."""
        try:
            async with asyncio.TaskGroup() as group:
                for child, answers in parts:
                    group.create_task(self._bring_one_up(child, answers))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _bring_one_up(self, child: ChildSpec, answers: Callable[[], Awaitable[bool]]) -> None:
        begin = log_size(child.log)
        await self._supervisor.start(child)
        ended = asyncio.create_task(self._supervisor.ended(child.name))
        ready = asyncio.create_task(_until(answers))
        try:
            timeout_s = self._options.ready_timeout_s
            done, _ = await asyncio.wait({ended, ready}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if ended in done:
                raise _failed(child, begin, f"ended before it was ready ({ended.result().last_exit})")
            if not done:
                raise _failed(child, begin, f"was not ready after {timeout_s:g} s")
            ready.result()
        finally:
            ended.cancel()
            ready.cancel()

    async def _stop(self) -> None:
        """Callers first, then what they call: frontends finish what is in flight, workers drain, then the rest."""
        for part in ("frontend", "admin", "broker", "store"):
            if part in self._supervisor.status():
                await self._supervisor.stop(part)
        self._folder.clear()


async def _until(answers: Callable[[], Awaitable[bool]]) -> None:
    while not await answers():  # noqa: ASYNC110 - nothing tells when another process is ready
        await asyncio.sleep(_LOOK_EVERY_S)


def _is_ready(http: httpx.AsyncClient, url: str) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        try:
            return (await http.get(f"{url}/readyz")).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    return look


def _failed(child: ChildSpec, begin: int, what: str) -> StackError:
    """The error, with what the child said since its log had `begin` bytes."""
    said = log_tail(child.log, _EVIDENCE_LINES, begin)
    return StackError(f"the {child.name} {what}; the end of {child.log}:\n{said or '(it said nothing)'}")
