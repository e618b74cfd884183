"""The server's own messages, as events beside ours."""

from __future__ import annotations

import logging
import os

import structlog

from skysail.topics.logs import configure
from skysail.topics.settings import Settings

__all__ = ["configure_logs"]

_log = structlog.get_logger("uvicorn")


class _AsEvents(logging.Handler):
    """Passes uvicorn's warnings and errors on."""

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`."""
        _log.log(record.levelno, "server", message=record.getMessage().strip(), exc_info=record.exc_info)


def configure_logs(settings: Settings) -> None:
    """Send events of this process to stderr; requests are counted, not logged."""
    configure(settings.log_level, settings.log_format, process="frontend", pid=os.getpid())
    server = logging.getLogger("uvicorn.error")
    server.handlers = [_AsEvents(logging.WARNING)]
    server.setLevel(logging.WARNING)
    server.propagate = False
