"""Serving from code: what ``python -m skysail.workers`` does, for workers of your own as well."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import structlog

from skysail.topics.errors import ConflictError, NoModelError
from skysail.topics.logs import configure
from skysail.topics.settings import Settings
from skysail.topics.specs import ModelSpec
from skysail.workers.process import ExitStatus, WorkerProcess
from skysail.workers.runtimes import Model
from skysail.workers.stopping import StoppedWhileLoading, StopRequest

__all__ = ["serve"]

_log = structlog.get_logger(__name__)


def serve(settings: Settings, load: Callable[[ModelSpec], Model] | None = None) -> ExitStatus:
    """Serve until the process is told to stop.

    Args:
        settings: with the worker's model and version.
        load: makes the model, for workers of your own; by default it is read from the version's artifact.
    """
    worker = settings.worker
    configure(settings.log_level, settings.log_format, model=worker.model, version=worker.version, pid=os.getpid())
    _flush_lines()
    stop = StopRequest()
    stop.listen()
    try:
        return WorkerProcess(settings, stop, load).run()
    except StoppedWhileLoading:
        _log.info("stopped_while_loading")
        return ExitStatus.DRAINED
    except NoModelError as error:
        _log.error("not_registered", error=str(error))
        return ExitStatus.NOT_REGISTERED
    except ConflictError as error:
        _log.error("state_folder_in_use", error=str(error))
        return ExitStatus.USAGE
    except Exception:  # noqa: BLE001 - the last word of the process is in its log
        _log.exception("worker_ended_by_error")
        return ExitStatus.ERROR


def _flush_lines() -> None:
    """What a model prints is to be seen when it is printed, also through a pipe."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)
