"""Runs frontends: one process, or several on one port, replaced when one dies and drained together."""

from __future__ import annotations

import errno
import multiprocessing
import signal
import socket
import sys
import tempfile
import time
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType

import uvicorn

from skysail.frontend.build import build_frontend
from skysail.topics.settings import Settings

__all__ = ["PORT_IN_USE", "run"]

#: Exit status when the port is taken (EADDRINUSE's number on Linux).
PORT_IN_USE = 98
_DRAIN_S = 30
_RESTART_PAUSE_S = 0.5


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    own = settings.frontend
    try:
        _listen(own.host, own.port, reuse=False).close()  # somebody else's socket is found before any process starts
    except OSError as error:
        return _report(error, own.host, own.port)
    if own.workers == 1:
        _serve(settings, None)
        return 0
    with tempfile.TemporaryDirectory(prefix="skysail-frontend-") as shared:
        return _supervise(settings, Path(shared))


def _report(error: OSError, host: str, port: int) -> int:
    reason = "is in use; choose another with --port" if error.errno == errno.EADDRINUSE else f"cannot be used: {error}"
    sys.stderr.write(f"skysail-frontend: {host}:{port} {reason}\n")
    return PORT_IN_USE if error.errno == errno.EADDRINUSE else 1


def _listen(host: str, port: int, *, reuse: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _serve(settings: Settings, shared: Path | None) -> None:
    """One process: an event loop with everything in it."""
    own = settings.frontend
    config = uvicorn.Config(
        build_frontend(settings, shared),
        host=own.host,
        port=own.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        interface="asgi3",
        lifespan="on",
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=4096,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    listener = _listen(own.host, own.port, reuse=shared is not None)
    uvicorn.Server(config).run(sockets=[listener])


def _serve_child(settings: Settings, shared: Path) -> None:
    # A terminal's Ctrl-C reaches the whole group; the parent decides what happens then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _serve(settings, shared)


def _supervise(settings: Settings, shared: Path) -> int:
    context = multiprocessing.get_context("spawn")
    stopping = False

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for child in children:
            child.terminate()

    def start() -> multiprocessing.process.BaseProcess:
        child = context.Process(target=_serve_child, args=(settings, shared))
        child.start()
        return child

    children: list[multiprocessing.process.BaseProcess] = []
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    children += [start() for _ in range(settings.frontend.workers)]
    while children:
        ended = wait([child.sentinel for child in children])
        for child in [child for child in children if child.sentinel in ended]:
            children.remove(child)
            if not stopping:
                sys.stderr.write(
                    f"skysail-frontend: process {child.pid} ended with {child.exitcode}; starting another\n"
                )
                time.sleep(_RESTART_PAUSE_S)
                children.append(start())
    return 0
