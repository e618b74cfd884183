"""`skysail models …`."""

from __future__ import annotations

import typer

from skysail.admin.cli.output import ADMIN_URL, Admin, Form, Output, connect, show

__all__ = ["add_to"]

models = typer.Typer(help="Models and their versions.", no_args_is_help=True)
_COLUMNS = ("name", "version", "is_current", "input_type", "framework", "replicas", "partitions", "objective_ms")


@models.command("ls")
def list_models(*, admin: Admin = ADMIN_URL, output: Output = Form.TABLE) -> None:
    """List all versions of all models."""
    show(connect(admin).get_all_models(verbose=True), output, _COLUMNS)


@models.command("show")
def show_model(name: str, version: str, *, admin: Admin = ADMIN_URL, output: Output = Form.TABLE) -> None:
    """Show one version."""
    show(connect(admin).get_model_info(name, version), output)


@models.command("rm")
def remove_model(name: str, version: str, *, admin: Admin = ADMIN_URL) -> None:
    """Drain a version's workers and remove it, with its topics and artifact."""
    connect(admin).delete_versioned_model(name, version)
    typer.echo(f"removed {name} {version}")


def add_to(app: typer.Typer) -> None:
    """The commands of this module."""
    app.add_typer(models, name="models")
