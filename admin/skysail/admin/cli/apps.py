"""`skysail apps …`, `link`, `unlink`."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from skysail.admin.cli.output import ADMIN_URL, Admin, Form, Output, connect, show
from skysail.topics.errors import BadInputError

__all__ = ["add_to"]

apps = typer.Typer(help="Applications: what callers ask.", no_args_is_help=True)
_COLUMNS = ("name", "input_type", "latency_slo_micros", "cache_ttl_s", "models")


@apps.command("ls")
def list_apps(*, admin: Admin = ADMIN_URL, output: Output = Form.TABLE) -> None:
    """List applications."""
    show(connect(admin).get_all_apps(verbose=True), output, _COLUMNS)


@apps.command("show")
def show_app(name: str, *, admin: Admin = ADMIN_URL, output: Output = Form.TABLE) -> None:
    """Show one application."""
    show(connect(admin).get_app_info(name), output)


@apps.command("add")
def add_app(
    name: str,
    *,
    input_type: Annotated[str, typer.Option(help="What one row is.")] = "doubles",
    default: Annotated[str | None, typer.Option(help="Default output, as JSON; none by default.")] = None,
    slo_ms: Annotated[float, typer.Option(min=1, help="Latency objective: a query's deadline.")] = 3000,
    cache_ttl_s: Annotated[int, typer.Option(min=0, help="Seconds that answers may be cached; 0: never.")] = 60,
    admin: Admin = ADMIN_URL,
) -> None:
    """Register an application."""
    try:
        value = msgspec.json.decode(default) if default is not None else None
    except msgspec.DecodeError as error:
        message = f"--default is not valid JSON: {error} (a text needs quotes: '\"text\"')"
        raise BadInputError(message) from None
    null = default is not None and value is None
    connect(admin).register_application(
        name, input_type, value, int(slo_ms * 1000), cache_ttl_s=cache_ttl_s, null_default=null
    )
    typer.echo(f"registered application {name}")


@apps.command("rm")
def remove_app(name: str, *, admin: Admin = ADMIN_URL) -> None:
    """Remove an application and its link."""
    connect(admin).delete_application(name)
    typer.echo(f"removed application {name}")


def link(app_name: str, model: str, *, admin: Admin = ADMIN_URL) -> None:
    """Let a model answer an application's queries."""
    connect(admin).link_model_to_app(app_name, model)
    typer.echo(f"{app_name} asks {model}")


def unlink(app_name: str, model: str, *, admin: Admin = ADMIN_URL) -> None:
    """End that."""
    connect(admin).unlink_model_from_app(app_name, model)
    typer.echo(f"{app_name} no longer asks {model}")


def add_to(app: typer.Typer) -> None:
    """The commands of this module."""
    app.add_typer(apps, name="apps")
    for command in (link, unlink):
        app.command()(command)
