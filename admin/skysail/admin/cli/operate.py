"""`skysail promote`, `rollback`, `scale`, `workers`, `logs`, `inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from skysail.admin.cli.output import ADMIN_URL, FRONTEND_URL, Admin, Form, Frontend, Output, connect, show

__all__ = ["add_to"]

_COLUMNS = ("worker_id", "model", "version", "state", "pid", "partitions", "batch_cap", "batch_rows", "queries_per_s")


def promote(model: str, version: str, *, admin: Admin = ADMIN_URL) -> None:
    """Make a version current, once a worker of it is ready."""
    connect(admin).promote(model, version)
    typer.echo(f"{model} {version} is current")


def rollback(model: str, *, admin: Admin = ADMIN_URL) -> None:
    """Make the version current that was current before."""
    typer.echo(f"{model} {connect(admin).rollback(model)} is current")


def scale(
    model: str,
    replicas: Annotated[int, typer.Argument(min=0)],
    *,
    version: Annotated[str | None, typer.Option(help="The current one by default.")] = None,
    admin: Admin = ADMIN_URL,
) -> None:
    """Run so many workers of a version; those beyond are drained."""
    warning = connect(admin).set_num_replicas(model, replicas, version)
    typer.echo(f"{model}{' ' + version if version else ''}: {replicas} workers")
    if warning:
        typer.echo(f"warning: {warning}", err=True)


def workers(*, admin: Admin = ADMIN_URL, output: Output = Form.TABLE) -> None:
    """List workers by their last heartbeats."""
    show(connect(admin).get_all_model_replicas(verbose=True), output, _COLUMNS)


def logs(
    model: str,
    version: str,
    *,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="From the end.")] = 50,
    admin: Admin = ADMIN_URL,
) -> None:
    """Print the end of each worker's log."""
    for slot, text in connect(admin).get_logs(model, version, lines).items():
        typer.echo(f"== {slot}\n{text}")


def inspect(*, admin: Admin = ADMIN_URL, frontend: Frontend = FRONTEND_URL, output: Output = Form.JSON) -> None:
    """Print the frontend's metrics and all workers' heartbeats."""
    show(connect(admin, frontend).inspect_instance(), output)


def add_to(app: typer.Typer) -> None:
    """The commands of this module."""
    for command in (promote, rollback, scale, workers, logs, inspect):
        app.command()(command)
