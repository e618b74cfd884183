"""`skysail models …`."""

from __future__ import annotations

from typing import Annotated

import typer

from skysail.admin.cli.output import Admin, Form, Output, connect, show, tell

__all__ = ["Model", "Version", "add_to"]

models = typer.Typer(help="Models and their versions.", no_args_is_help=True)
_COLUMNS = ("name", "version", "is_current", "input_type", "framework", "replicas", "partitions", "objective_ms")

Model = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="One of its versions.")]


@models.command("ls")
def list_models(*, admin: Admin = None, output: Output = Form.TABLE) -> None:
    """List all versions of all models."""
    with connect(admin) as connection:
        show(connection.get_all_models(verbose=True), output, _COLUMNS)


@models.command("show")
def show_model(name: Model, version: Version, *, admin: Admin = None, output: Output = Form.TABLE) -> None:
    """Show one version."""
    with connect(admin) as connection:
        show(connection.get_model_info(name, version), output)


@models.command("rm")
def remove_model(name: Model, version: Version, *, admin: Admin = None, output: Output = Form.TABLE) -> None:
    """Drain a version's workers and remove it, with its topics and artifact."""
    with connect(admin) as connection:
        connection.delete_versioned_model(name, version)
    tell(f"removed {name} {version}", output, name=name, version=version)


def add_to(app: typer.Typer) -> None:
    """The commands of this module."""
    app.add_typer(models, name="models")
