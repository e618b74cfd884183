"""What commands share: where admin process and frontend are, and output for people or as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

if TYPE_CHECKING:
    from skysail.admin.connection import Connection

__all__ = ["ADMIN_URL", "FRONTEND_URL", "Admin", "Form", "Frontend", "Output", "connect", "show", "tell"]


class Form(StrEnum):
    """How to print."""

    TABLE = "table"
    JSON = "json"


Admin = Annotated[str, typer.Option("--admin", envvar="SKYSAIL_ADMIN_URL", help="URL of the admin process.")]
Frontend = Annotated[str, typer.Option("--frontend", envvar="SKYSAIL_FRONTEND_URL", help="URL of a frontend.")]
Output = Annotated[Form, typer.Option("-o", "--output", help="How to print: for people, or everything as JSON.")]

ADMIN_URL = "http://127.0.0.1:1338"
FRONTEND_URL = "http://127.0.0.1:1337"


def connect(admin: str, frontend: str = FRONTEND_URL) -> Connection:
    """The admin library."""
    from skysail.admin.connection import Connection

    return Connection(admin, frontend_url=frontend)


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
