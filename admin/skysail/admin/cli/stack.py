"""`skysail up`, `down`, `status`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skysail.admin.cli.output import Form, Output, show

__all__ = ["add_to"]

State = Annotated[
    Path | None, typer.Option("--state", envvar="SKYSAIL_STATE", help="Folder of the stack. [~/.local/share/skysail]")
]


def _state(path: Path | None) -> Path:
    from skysail.admin.embedded.state import default_state

    return (path or default_state()).absolute()


def up(  # noqa: PLR0913 - so many options has it
    *,
    state: State = None,
    kafka: Annotated[str | None, typer.Option(help="HOST:PORT of your Kafka, instead of the embedded broker.")] = None,
    redis: Annotated[str | None, typer.Option(help="URL of your Redis or Valkey, instead of the embedded one.")] = None,
    host: Annotated[str, typer.Option(help="Address that frontend and admin listen on.")] = "127.0.0.1",
    frontend_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the frontend.")] = 1337,
    admin_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the admin process.")] = 1338,
    broker_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the embedded broker.")] = 19092,
    store_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the embedded store.")] = 16379,
    namespace: Annotated[str, typer.Option(help="Which deployment on that broker and store.")] = "default",
    workers: Annotated[int, typer.Option(min=1, help="Frontend processes on the one port.")] = 1,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Run in the background.")] = False,
) -> None:
    """Start broker, store, frontend and admin on this machine; without --detach, until Ctrl-C."""
    from skysail.admin.embedded import StackOptions, start_detached
    from skysail.admin.embedded.run import announce, run_stack

    options = StackOptions(
        state=_state(state),
        kafka=kafka,
        redis=redis,
        host=host,
        frontend_port=frontend_port,
        admin_port=admin_port,
        broker_port=broker_port,
        store_port=store_port,
        namespace=namespace,
        frontend_workers=workers,
    )
    if detach:
        typer.echo(announce(start_detached(options), options.state))
    else:
        raise typer.Exit(run_stack(options))


def down(*, state: State = None) -> None:
    """Stop what `skysail up` started: workers drain, then frontend, admin, broker and store end."""
    from skysail.admin.embedded import down as stop

    info = stop(_state(state))
    typer.echo(f"stopped the stack of {_state(state)} (pid {info.pid})")


def status(*, state: State = None, output: Output = Form.TABLE) -> None:
    """What runs here, and what of it answers; exit status 1 when a part does not."""
    from skysail.admin.embedded import status as look

    found = look(_state(state))
    if output is Form.JSON:
        show(found, output)
    else:
        parts = [
            {"part": part, "address": found[part].get("url") or found[part]["address"], "note": _note(found[part])}
            for part in ("frontend", "admin", "broker", "store")
        ]
        show(parts, output, ("part", "address", "note"))
    if not (found["frontend"]["ready"] and found["admin"]["ready"]):
        raise typer.Exit(1)


def _note(part: dict[str, object]) -> str:
    if "ready" in part:
        return "ready" if part["ready"] else "not ready"
    return "embedded" if part["embedded"] else "yours"


def add_to(app: typer.Typer) -> None:
    """The commands of this module."""
    for command in (up, down, status):
        app.command()(command)
