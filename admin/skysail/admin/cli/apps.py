"""`skysail apps …`, `link`, `unlink`."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from skysail.admin.cli.output import Admin, Form, Output, connect, show, tell
from skysail.topics.errors import BadInputError

__all__ = ["add_to"]

apps = typer.Typer(help="Applications: what callers ask.", no_args_is_help=True)
_COLUMNS = ("name", "input_type", "latency_slo_micros", "cache_ttl_s", "models")

App = Annotated[str, typer.Argument(metavar="APP", help="Name of the application.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")]


@apps.command("ls")
def list_apps(*, admin: Admin = None, output: Output = Form.TABLE) -> None:
    """List applications."""
    with connect(admin) as connection:
        show(connection.get_all_apps(verbose=True), output, _COLUMNS)


@apps.command("show")
def show_app(name: App, *, admin: Admin = None, output: Output = Form.TABLE) -> None:
    """Show one application."""
    with connect(admin) as connection:
        show(connection.get_app_info(name), output)


@apps.command("add")
def add_app(
    name: App,
    *,
    input_type: Annotated[
        str, typer.Option(help="What one row is: bytes, integers, floats, doubles, strings, json or tensors.")
    ] = "doubles",
    default: Annotated[str | None, typer.Option(help="Default output, as JSON; none by default.")] = None,
    slo_ms: Annotated[float, typer.Option(min=1, help="Latency objective: a query's deadline.")] = 3000,
    cache_ttl_s: Annotated[int, typer.Option(min=0, help="Seconds that answers may be cached; 0: never.")] = 60,
    admin: Admin = None,
    output: Output = Form.TABLE,
) -> None:
    """Register an application."""
    try:
        value = msgspec.json.decode(default) if default is not None else None
    except msgspec.DecodeError as error:
        message = f"--default is not valid JSON: {error} (a text needs quotes: '\"text\"')"
        raise BadInputError(message) from None
    null = default is not None and value is None
    with connect(admin) as connection:
        connection.register_application(
            name, input_type, value, int(slo_ms * 1000), cache_ttl_s=cache_ttl_s, null_default=null
        )
    tell(f"registered application {name}", output, name=name)


@apps.command("rm")
def remove_app(name: App, *, admin: Admin = None, output: Output = Form.TABLE) -> None:
    """Remove an application and its link."""
    with connect(admin) as connection:
        connection.delete_application(name)
    tell(f"removed application {name}", output, name=name)


def link(app_name: App, model: Model, *, admin: Admin = None, output: Output = Form.TABLE) -> None:
    """Let a model answer an application's queries."""
    with connect(admin) as connection:
        connection.link_model_to_app(app_name, model)
    tell(f"{app_name} asks {model}", output, app=app_name, models=[model])


def unlink(app_name: App, model: Model, *, admin: Admin = None, output: Output = Form.TABLE) -> None:
    """End that."""
    with connect(admin) as connection:
        connection.unlink_model_from_app(app_name, model)
    tell(f"{app_name} no longer asks {model}", output, app=app_name, models=[])


def add_to(app: typer.Typer) -> None:
    """The commands of this module."""
    app.add_typer(apps, name="apps")
    for command in (link, unlink):
        app.command()(command)
