"""The command tree. Each group is a module; what a command needs is imported when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from skysail.admin.cli import apps, deploy, dlt, models, operate, stack
from skysail.admin.cli.group import ErrorsAsExits
from skysail.topics import __version__

__all__ = ["app"]

_HELP = """Serve predictions through a message broker.

`skysail up` starts everything on this machine; `skysail deploy` serves a model; `skysail predict` asks it.

Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 a part that is needed does not answer.
"""

app = typer.Typer(
    name="skysail",
    cls=ErrorsAsExits,
    help=_HELP,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
for module in (stack, deploy, apps, models, operate, dlt):
    module.add_to(app)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"skysail {__version__}")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version
