"""What commands share: where admin process and frontend are, and output for people or as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

if TYPE_CHECKING:
    from skysail.admin.connection import Connection

__all__ = ["Admin", "Form", "Frontend", "Output", "connect", "frontend_url", "show", "tell"]


class Form(StrEnum):
    """How to print."""

    TABLE = "table"
    JSON = "json"


Admin = Annotated[
    str | None,
    typer.Option("--admin", envvar="SKYSAIL_ADMIN_URL", help="URL of the admin process. [that of the running stack]"),
]
Frontend = Annotated[
    str | None,
    typer.Option("--frontend", envvar="SKYSAIL_FRONTEND_URL", help="URL of a frontend. [that of the running stack]"),
]
Output = Annotated[Form, typer.Option("-o", "--output", help="How to print: for people, or everything as JSON.")]

_ADMIN_URL = "http://127.0.0.1:1338"
_FRONTEND_URL = "http://127.0.0.1:1337"


def connect(admin: str | None, frontend: str | None = None) -> Connection:
    """The admin library; where no URL is given, of the stack that runs in `$SKYSAIL_STATE` or the home folder."""
    from skysail.admin.connection import Connection

    return Connection(admin or _of_the_stack("admin") or _ADMIN_URL, frontend_url=frontend_url(frontend))


def frontend_url(given: str | None) -> str:
    """The frontend's URL, in the same way."""
    return given or _of_the_stack("frontend") or _FRONTEND_URL


def _of_the_stack(part: str) -> str | None:
    from skysail.admin.embedded.state import StateFolder, default_state

    running = StateFolder(default_state()).read()
    return str(getattr(running, part)) if running is not None else None


def tell(text: str, form: Form, **facts: Any) -> None:
    """Print what was done: a sentence, or the facts of it as JSON."""
    if form is Form.JSON:
        show(facts, form)
    else:
        typer.echo(text)


def show(rows: Sequence[Mapping[str, Any]] | Mapping[str, Any], form: Form, columns: Sequence[str] = ()) -> None:
    """Print rows as a table of the named columns, or everything as JSON."""
    if form is Form.JSON:
        typer.echo(msgspec.json.format(msgspec.json.encode(rows)).decode())
        return
    from rich.console import Console
    from rich.table import Table

    if isinstance(rows, Mapping):
        rows = [{"": name, "value": value} for name, value in rows.items()]
        columns = ("", "value")
    table = Table(*(column.replace("_", " ") for column in columns), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(_text(row.get(column)) for column in columns))
    console = Console(markup=False, highlight=False)
    # Into a file or a pipe a row stays one line, however long.
    console.print(table, width=None if console.is_terminal else 10_000, crop=console.is_terminal)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
