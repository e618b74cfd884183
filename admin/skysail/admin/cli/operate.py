"""`skysail promote`, `rollback`, `scale`, `workers`, `logs`, `inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from skysail.admin.cli.models import Model, Version
from skysail.admin.cli.output import Admin, Form, Frontend, Output, connect, show, tell

__all__ = ["add_to"]

_COLUMNS = ("worker_id", "model", "version", "state", "pid", "partitions", "batch_cap", "batch_rows", "queries_per_s")
Timeout = Annotated[
    float | None, typer.Option(min=1, help="Seconds that it may take; by default the admin process's own limit.")
]


def promote(
    model: Model, version: Version, *, timeout: Timeout = None, admin: Admin = None, output: Output = Form.TABLE
) -> None:
    """Make a version current, once a worker of it is ready."""
    with connect(admin) as connection:
        connection.promote(model, version, timeout_s=timeout)
    tell(f"{model} {version} is current", output, name=model, current=version)


def rollback(model: Model, *, timeout: Timeout = None, admin: Admin = None, output: Output = Form.TABLE) -> None:
    """Make the version current that was current before."""
    with connect(admin) as connection:
        version = connection.rollback(model, timeout)
    tell(f"{model} {version} is current", output, name=model, current=version)


def scale(
    model: Model,
    replicas: Annotated[int, typer.Argument(metavar="REPLICAS", min=0, help="How many workers.")],
    *,
    version: Annotated[str | None, typer.Option(help="The current one by default.")] = None,
    wait: Annotated[bool, typer.Option(help="Return when so many are ready, not when they have been started.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that --wait may take.")] = 120,
    admin: Admin = None,
    output: Output = Form.TABLE,
) -> None:
    """Run so many workers of a version; those beyond are drained."""
    with connect(admin) as connection:
        warning = connection.set_num_replicas(model, replicas, version)
        if warning:
            typer.echo(f"warning: {warning}", err=True)
        if wait:
            connection.wait_for_replicas(model, replicas, version, timeout)
    named = f"{model} {version}" if version else model
    tell(f"{named}: {replicas} workers", output, name=model, version=version, replicas=replicas, warning=warning)


def workers(*, admin: Admin = None, output: Output = Form.TABLE) -> None:
    """List workers by their last heartbeats."""
    with connect(admin) as connection:
        show(connection.get_all_model_replicas(verbose=True), output, _COLUMNS)


def logs(
    model: Model,
    version: Version,
    *,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, max=100_000, help="From the end.")] = 50,
    admin: Admin = None,
    output: Output = Form.TABLE,
) -> None:
    """Print the end of each worker's log."""
    with connect(admin) as connection:
        found = connection.get_logs(model, version, lines)
    tell("\n".join(f"== {slot}\n{text}" for slot, text in found.items()), output, **found)


def inspect(*, admin: Admin = None, frontend: Frontend = None, output: Output = Form.JSON) -> None:
    """Print the frontend's metrics and all workers' heartbeats."""
    with connect(admin, frontend) as connection:
        found = connection.inspect_instance()
    if output is Form.JSON:
        show(found, output)
    else:
        show(found["frontend"], output)
        show(found["workers"], output, _COLUMNS)


def add_to(app: typer.Typer) -> None:
    """The commands of this module."""
    for command in (promote, rollback, scale, workers, logs, inspect):
        app.command()(command)
