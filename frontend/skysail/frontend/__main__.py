"""`python -m skysail.frontend`: the HTTP frontend."""

from __future__ import annotations

import argparse
import sys

from pydantic import ValidationError

from skysail.frontend.server import run
from skysail.topics.settings import Settings

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Read settings, flags over environment, and serve."""
    parser = argparse.ArgumentParser(
        prog="skysail-frontend", description="The HTTP frontend. Settings come from SKYSAIL_*; flags win."
    )
    parser.add_argument("--host", help="address to listen on (SKYSAIL_FRONTEND__HOST; 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (SKYSAIL_FRONTEND__PORT; 1337)")
    parser.add_argument("--workers", type=int, help="processes that share the port (SKYSAIL_FRONTEND__WORKERS; 1)")
    flags = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    try:
        settings = Settings()
        frontend = settings.frontend.model_validate({**settings.frontend.model_dump(), **flags})
    except ValidationError as error:
        parser.error(str(error))
    sys.exit(run(settings.model_copy(update={"frontend": frontend})))


if __name__ == "__main__":
    main()
