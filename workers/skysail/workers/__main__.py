"""``python -m skysail.workers``: serve one version of one model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from skysail.topics.errors import InvalidNameError
from skysail.topics.names import check_name
from skysail.topics.settings import Settings
from skysail.workers.process import ExitStatus
from skysail.workers.serving import serve

__all__ = ["main"]


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


if __name__ == "__main__":
    sys.exit(main())
