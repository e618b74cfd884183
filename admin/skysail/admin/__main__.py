"""`python -m skysail.admin`: the management API, and the local manager's workers."""

from __future__ import annotations

import argparse
import errno
import signal
import socket
import sys

import structlog
import uvicorn
from pydantic import ValidationError

from skysail.admin.build import build_admin
from skysail.topics.errors import SkysailError
from skysail.topics.logs import configure
from skysail.topics.settings import Settings

__all__ = ["main"]

_log = structlog.get_logger(__name__)

#: Exit status when the port is taken.
PORT_IN_USE = 98
#: How long requests in flight may go on after SIGTERM; a deployment that is cut off then undoes itself.
_REQUESTS_S = 5


def main(arguments: list[str] | None = None) -> None:
    """Read settings, flags over environment, and serve."""
    parser = argparse.ArgumentParser(prog="skysail-admin", description=__doc__)
    parser.add_argument("--host", help="address to listen on (SKYSAIL_ADMIN__HOST; 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (SKYSAIL_ADMIN__PORT; 1338)")
    parser.add_argument("--manager", choices=("local", "external"), help="who runs workers (SKYSAIL_ADMIN__MANAGER)")
    flags = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    try:
        settings = Settings()
        admin = settings.admin.model_validate({**settings.admin.model_dump(), **flags})
    except ValidationError as error:
        parser.error(str(error))
    configure(settings.log_level, settings.log_format)
    try:
        status = _serve(settings.model_copy(update={"admin": admin}))
    except SkysailError as error:  # of the settings: a signing key that cannot be read
        sys.stderr.write(f"skysail-admin: {error}\n")
        status = 1
    sys.exit(status)


def _serve(settings: Settings) -> int:
    own = settings.admin
    listener = socket.socket(socket.AF_INET6 if ":" in own.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((own.host, own.port))
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        reason = "is in use; choose another with --port" if in_use else f"cannot be used: {error}"
        sys.stderr.write(f"skysail-admin: {own.host}:{own.port} {reason}\n")
        return PORT_IN_USE if in_use else 1
    config = uvicorn.Config(
        build_admin(settings),
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=_REQUESTS_S,
    )
    server = uvicorn.Server(config)
    # The server listens to signals while it runs, and raises them once more when it has stopped: that must not end the
    # process with a signal's status.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _go_on)
    _log.info("listening", host=own.host, port=listener.getsockname()[1], manager=own.manager)
    server.run(sockets=[listener])
    return 0 if server.started else 1


def _go_on(number: int, _: object) -> None:
    del number


if __name__ == "__main__":
    main()
