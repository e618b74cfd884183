"""The command tree. Each group is a module; what a command needs is imported when it runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from skysail.admin.cli import apps, deploy, models, operate, stack
from skysail.topics import __version__
from skysail.topics.errors import SkysailError

__all__ = ["app", "run"]

app = typer.Typer(
    name="skysail",
    help="Serve predictions through a message broker.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
for module in (stack, deploy, apps, models, operate):
    module.add_to(app)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"skysail {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version


def run() -> None:
    """Run; exit status 0: done, 1: refused or failed, 2: wrong usage."""
    try:
        app()
    except SkysailError as error:
        sys.stderr.write(f"skysail: {error}\n")
        sys.exit(1)
