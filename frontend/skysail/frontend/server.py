"""Runs frontends: one process, or several on one port, replaced when one dies and drained together."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

import confluent_kafka
import structlog
import uvicorn
from confluent_kafka import KafkaException

from skysail.frontend.build import build_frontend
from skysail.frontend.logs import configure_logs
from skysail.frontend.protocol import FrontendProtocol
from skysail.frontend.supervisor import Supervisor
from skysail.topics.kafka.config import producer_config
from skysail.topics.settings import Settings
from skysail.topics.store.channel import StoreChannel

__all__ = ["PORT_IN_USE", "run"]

_log = structlog.get_logger(__name__)

#: Exit statuses. The first is EADDRINUSE's number on Linux.
PORT_IN_USE = 98
_ERROR = 1
_USAGE = 2
#: Within what Kubernetes grants a process by default (30 s), and longer than most deadlines.
_DRAIN_S = 25
#: Longer than load balancers keep idle connections (60 s is common), so that it is they who close: a request that meets
#: a closing connection is lost.
_KEEP_ALIVE_S = 75


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    own = settings.frontend
    configure_logs(settings)
    try:
        _check(settings)
    except (KafkaException, ValueError) as error:
        return _report(f"a setting is wrong: {error}", _USAGE)
    try:
        _bound(own.host, own.port, shared=False).close()  # finds a frontend that is there already
        reserved = _bound(own.host, own.port, shared=own.workers > 1)
    except OSError as error:
        return _report_port(error, own.host, own.port)
    with reserved:
        port = reserved.getsockname()[1]
        _log.info("listening", host=own.host, port=port, processes=own.workers, namespace=settings.namespace)
        if own.workers == 1:
            return _serve(settings, reserved, None)
        settings = settings.model_copy(update={"frontend": own.model_copy(update={"port": port})})
        with tempfile.TemporaryDirectory(prefix="skysail-frontend-") as shared:
            return _supervise(settings, Path(shared))


def _check(settings: Settings) -> None:
    """Find a wrong property or URL now, rather than as a broker or store that is always away. Connects to nothing."""
    confluent_kafka.Producer(producer_config(settings.kafka.librdkafka()))
    StoreChannel(settings.redis.url)


def _report(message: str, status: int) -> int:
    sys.stderr.write(f"skysail-frontend: {message}\n")
    return status


def _report_port(error: OSError, host: str, port: int) -> int:
    if error.errno == errno.EADDRINUSE:
        return _report(f"{host}:{port} is in use; choose another with --port", PORT_IN_USE)
    return _report(f"{host}:{port} cannot be used: {error}", _ERROR)


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    """A socket at the port that does not listen yet; `shared` lets others of ours have the port too."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def _serve(settings: Settings, listener: socket.socket, shared: Path | None) -> int:
    """One process: an event loop with everything in it."""
    config = uvicorn.Config(
        build_frontend(settings, shared),
        loop="uvloop",
        http=FrontendProtocol,
        ws="none",
        interface="asgi3",
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=4096,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    server = uvicorn.Server(config)

    def drain(_: int, __: FrameType | None) -> None:
        server.should_exit = True

    # The server listens to signals while it runs, and raises them once more when it has drained: that must not end the
    # process as by a kill.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, drain)
    server.run(sockets=[listener])
    return 0 if server.started else _ERROR


def _serve_child(settings: Settings, shared: Path) -> None:
    configure_logs(settings)
    threading.Thread(target=_end_with_parent, daemon=True, name="parent").start()
    own = settings.frontend
    sys.exit(_serve(settings, _bound(own.host, own.port, shared=True), shared))


def _end_with_parent() -> None:
    """A parent that was killed cannot pass on that its port is to be given up."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _supervise(settings: Settings, shared: Path) -> int:
    context = multiprocessing.get_context("spawn")

    def start() -> multiprocessing.process.BaseProcess:
        child = context.Process(target=_serve_child, args=(settings, shared))
        child.start()
        return child

    supervisor = Supervisor(start, settings.frontend.workers)

    def stop(_: int, __: FrameType | None) -> None:
        supervisor.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    supervisor.run()
    return 0
