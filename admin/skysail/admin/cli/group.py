"""Exit statuses, and how an error of a command becomes one."""

from __future__ import annotations

import os
import sys
from enum import IntEnum
from typing import Any

import typer
from typer.core import TyperGroup

from skysail.topics.errors import SkysailError, UnavailableError

__all__ = ["ErrorsAsExits", "ExitStatus"]


class ExitStatus(IntEnum):
    """How the command ends."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNAVAILABLE = 3


class ErrorsAsExits(TyperGroup):
    """Turns Skysail's errors into a line on stderr and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except SkysailError as error:
            typer.echo(f"skysail: {error}", err=True)
            unavailable = isinstance(error, UnavailableError)
            raise typer.Exit(ExitStatus.UNAVAILABLE if unavailable else ExitStatus.REFUSED) from None
        except BrokenPipeError:  # whoever read our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitStatus.REFUSED) from None
