"""``python -m skysail.workers``: serve one version of one model."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from pydantic import ValidationError

from skysail.topics.errors import ConflictError, InvalidNameError, NoModelError
from skysail.topics.names import check_name
from skysail.topics.settings import Settings
from skysail.topics.specs import ModelSpec
from skysail.workers import logs
from skysail.workers.process import ExitStatus, WorkerProcess
from skysail.workers.runtimes import Model
from skysail.workers.stopping import StoppedWhileLoading, StopRequest

__all__ = ["main", "serve"]

_log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker from flags over ``SKYSAIL_*``; returns the exit status (see `ExitStatus`)."""
    parser = argparse.ArgumentParser(
        prog="skysail-worker", description="Serve one version of a model. Settings come from SKYSAIL_*; flags win."
    )
    parser.add_argument("--model", help="name of the model (SKYSAIL_WORKER__MODEL)")
    parser.add_argument("--version", help="its version (SKYSAIL_WORKER__VERSION)")
    flags = parser.parse_args(arguments)
    try:
        settings = _settings(flags.model, flags.version)
    except (ValidationError, InvalidNameError) as error:
        parser.exit(ExitStatus.USAGE, f"skysail-worker: {error}\n")
    return serve(settings)


def _settings(model: str | None, version: str | None) -> Settings:
    settings = Settings()
    given = {name: value for name, value in (("model", model), ("version", version)) if value is not None}
    worker = settings.worker.model_copy(update=given)
    check_name("model name", worker.model)
    check_name("model version", worker.version)
    return settings.model_copy(update={"worker": worker})


def serve(settings: Settings, load: Callable[[ModelSpec], Model] | None = None) -> ExitStatus:
    """Serve until the process is told to stop.

    Args:
        settings: with the worker's model and version.
        load: makes the model, for workers of your own; by default it is read from the version's artifact.
    """
    worker = settings.worker
    logs.configure(settings.log_level, settings.log_format, model=worker.model, version=worker.version, pid=os.getpid())
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


if __name__ == "__main__":
    sys.exit(main())
