"""The stack in the foreground: starts its parts in order, waits until each answers, and stops them in reverse."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable

import httpx
import psutil

from skysail.admin.embedded.options import StackError, StackOptions
from skysail.admin.embedded.services import (
    BROKER_PROPERTIES,
    broker_answers,
    broker_child,
    store_answers,
    store_child,
)
from skysail.admin.embedded.state import StateFolder, UpInfo
from skysail.admin.supervisor import ChildSpec, Supervisor, log_tail

__all__ = ["Stack"]

_READY_S = 60.0
_LOOK_EVERY_S = 0.1
#: The admin's workers drain first.
_ADMIN_GRACE_S = 40.0


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
        self._kafka = options.kafka or f"127.0.0.1:{options.broker_port}"
        self._redis = options.redis or f"redis://127.0.0.1:{options.store_port}/0"

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT.

        Raises:
            StackError: for a port in use, a missing part, a stack that runs here already, a part that does not start.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        self._folder.make()
        with self._folder.lock():
            check_ports(self._options)
            try:
                started = asyncio.create_task(self._start())
                stopped = asyncio.create_task(stop.wait())
                await asyncio.wait({started, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if started.done():
                    started.result()
                    await stopped
                started.cancel()
                await asyncio.gather(started, return_exceptions=True)
            finally:
                await self._stop()

    async def _start(self) -> None:
        options, logs = self._options, self._folder.logs
        if options.kafka is None:
            child = broker_child(options.broker_port, logs / "broker.log")
            await self._part(child, lambda: broker_answers(self._kafka))
        if options.redis is None:
            child = store_child(options.store_port, self._folder.store, logs / "store.log")
            await self._part(child, lambda: store_answers(self._redis))
        host = "127.0.0.1" if options.host == "0.0.0.0" else options.host  # noqa: S104 - compared, not bound
        admin, frontend = f"http://{host}:{options.admin_port}", f"http://{host}:{options.frontend_port}"
        await self._part(self._own("admin", _ADMIN_GRACE_S), lambda: _answers(f"{admin}/readyz"))
        await self._part(self._own("frontend", _ADMIN_GRACE_S), lambda: _answers(f"{frontend}/readyz"))
        info = UpInfo(
            pid=os.getpid(),
            created_s=psutil.Process().create_time(),
            frontend=frontend,
            admin=admin,
            kafka=self._kafka,
            redis=self._redis,
            embedded_broker=options.kafka is None,
            embedded_store=options.redis is None,
        )
        self._folder.write(info)
        self._on_ready(info)

    def _own(self, part: str, grace_s: float) -> ChildSpec:
        return ChildSpec(
            name=part,
            command=(sys.executable, "-m", f"skysail.{part}"),
            environment=self._environment(),
            log=self._folder.logs / f"{part}.log",
            stop_grace_s=grace_s,
        )

    def _environment(self) -> dict[str, str]:
        options = self._options
        return {
            **(BROKER_PROPERTIES if options.kafka is None else {}),
            "SKYSAIL_NAMESPACE": options.namespace,
            "SKYSAIL_KAFKA__BOOTSTRAP_SERVERS": self._kafka,
            "SKYSAIL_REDIS__URL": self._redis,
            "SKYSAIL_ARTIFACTS__PATH": str(self._folder.artifacts.resolve()),
            "SKYSAIL_ARTIFACTS__SIGNING_KEY_FILE": str(self._folder.signing_key.resolve()),
            "SKYSAIL_FRONTEND__HOST": options.host,
            "SKYSAIL_FRONTEND__PORT": str(options.frontend_port),
            "SKYSAIL_FRONTEND__WORKERS": str(options.frontend_workers),
            "SKYSAIL_ADMIN__HOST": options.host,
            "SKYSAIL_ADMIN__PORT": str(options.admin_port),
            "SKYSAIL_ADMIN__LOGS": str(self._folder.logs.resolve()),
        }

    async def _part(self, child: ChildSpec, answers: Callable[[], Awaitable[bool]]) -> None:
        await self._supervisor.start(child)
        limit = asyncio.get_running_loop().time() + _READY_S
        while not await answers():
            status = self._supervisor.status()[child.name]
            if status.last_exit is not None:
                raise _failed(child, f"ended before it was ready ({status.last_exit})")
            if asyncio.get_running_loop().time() > limit:
                raise _failed(child, f"was not ready after {_READY_S:g} s")
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _stop(self) -> None:
        """In reverse: frontends finish what is in flight while workers and broker are there; then the rest."""
        for part in ("frontend", "admin", "broker", "store"):
            if part in self._supervisor.status():
                await self._supervisor.stop(part)
        self._folder.clear()


def _failed(child: ChildSpec, what: str) -> StackError:
    return StackError(f"the {child.name} {what}; the end of {child.log}:\n{log_tail(child.log, 20)}")


def check_ports(options: StackOptions) -> None:
    """Find a port in use before anything is started. Raises StackError, which names the flag that changes it."""
    for part, (host, port) in options.ports().items():
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port))
            except OSError as error:
                in_use = error.errno == errno.EADDRINUSE
                reason = "is in use" if in_use else f"cannot be used ({error.strerror})"
                message = f"port {port}, wanted for the {part}, {reason}; choose another with --{part}-port"
                raise StackError(message) from None


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=2) as http:
            return (await http.get(url)).status_code == 200
    except httpx.HTTPError:
        return False
