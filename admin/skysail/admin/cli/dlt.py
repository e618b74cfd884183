"""`skysail dlt …`: dead letters."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skysail.admin.cli.models import Model
from skysail.admin.cli.output import Admin, Form, Output, connect, show, tell
from skysail.topics.errors import BadInputError

if TYPE_CHECKING:
    from skysail.topics.dead_letters import LetterFilter

__all__ = ["add_to", "moment_ms"]

letters = typer.Typer(name="dlt", help="Queries that could neither be read nor computed.", no_args_is_help=True)
_COLUMNS = ("id", "buried", "reason", "error", "replayed", "from", "value")
_AGO = re.compile(r"(\d+)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Version = Annotated[str | None, typer.Option(help="Of this version's topic; by default of all the model's topics.")]
Id = Annotated[str | None, typer.Option("--id", help="Only of this query.")]
Reason = Annotated[str | None, typer.Option(help="Only with this reason: undecodable or crash_limit.")]
Error = Annotated[str | None, typer.Option(help="Only with this in the error's text.")]
Since = Annotated[str | None, typer.Option(help="Only those buried from then on: 90m, 2h, 7d ago, or an ISO time.")]
Until = Annotated[str | None, typer.Option(help="Only those buried before that.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which letters are meant.")]


def moment_ms(text: str | None, now_s: float) -> int | None:
    """``90m`` (ago) or an ISO 8601 time, local where it names no zone, as unix ms. Raises BadInputError."""
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return int((now_s - int(ago[1]) * _SECONDS[ago[2]]) * 1000)
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        message = f"{text!r} is no time: expected 90s, 90m, 2h or 7d (ago), or an ISO time such as 2026-01-31T18:00"
        raise BadInputError(message) from None


def _wanted(
    query_id: str | None, reason: str | None, error: str | None, since: str | None, until: str | None
) -> LetterFilter:
    from skysail.topics.dead_letters import LetterFilter

    now_s = time.time()
    return LetterFilter(
        query_id=query_id,
        reason=reason,
        error=error,
        since_ms=moment_ms(since, now_s),
        until_ms=moment_ms(until, now_s),
    )


def _show(rows: list[dict[str, Any]], output: Form) -> None:
    if output is Form.TABLE:
        rows = [{**row, "buried": _time(row["buried_ms"]), "replayed": _time(row["replayed_ms"])} for row in rows]
    show(rows, output, _COLUMNS)


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1000).astimezone().isoformat(" ", "seconds")


@letters.command("ls")
def list_letters(  # noqa: PLR0913 - so many options has it
    model: Model,
    *,
    version: Version = None,
    query_id: Id = None,
    reason: Reason = None,
    error: Error = None,
    since: Since = None,
    until: Until = None,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, max=10_000, help="The last so many.")] = 100,
    admin: Admin = None,
    output: Output = Form.TABLE,
) -> None:
    """List a model's dead letters in the order of their burial."""
    with connect(admin) as connection:
        wanted = _wanted(query_id, reason, error, since, until)
        _show(connection.get_dead_letters(model, version, wanted, lines), output)


@letters.command("show")
def show_letter(
    model: Model,
    query_id: Annotated[str, typer.Argument(metavar="ID", help="Query id.")],
    *,
    admin: Admin = None,
    output: Output = Form.JSON,
) -> None:
    """Show everything about the letters of one query: value, key, headers."""
    with connect(admin) as connection:
        for letter in connection.get_dead_letter(model, query_id):
            show(letter, output)


@letters.command("replay")
def replay(  # noqa: PLR0913 - so many options has it
    model: Model,
    *,
    version: Version = None,
    query_id: Id = None,
    reason: Reason = None,
    error: Error = None,
    since: Since = None,
    until: Until = None,
    again: Annotated[bool, typer.Option("--again", help="Those too that were sent once more before.")] = False,
    to_model: Annotated[
        bool, typer.Option("--to-model", help="To the model's topic: its current version answers.")
    ] = False,
    dry_run: DryRun = False,
    admin: Admin = None,
    output: Output = Form.TABLE,
) -> None:
    """Send letters once more, with their ids, to the topics that they came from."""
    wanted = _wanted(query_id, reason, error, since, until)
    with connect(admin) as connection:
        sent = connection.replay_dead_letters(
            model, wanted, version=version, again=again, to_model=to_model, dry_run=dry_run
        )
    _show(sent, output)
    if output is Form.TABLE:
        typer.echo(f"{len(sent)} letters {'would be' if dry_run else 'were'} sent once more")


@letters.command("purge")
def purge(
    model: Model,
    *,
    version: Version = None,
    until: Until = None,
    dry_run: DryRun = False,
    admin: Admin = None,
    output: Output = Form.TABLE,
) -> None:
    """Delete letters from the oldest on: all, or those buried before a time."""
    with connect(admin) as connection:
        until_ms = moment_ms(until, time.time())
        purged = connection.purge_dead_letters(model, version=version, until_ms=until_ms, dry_run=dry_run)
    tell(f"{purged} letters {'would be' if dry_run else 'were'} deleted", output, purged=purged, dry_run=dry_run)


def add_to(app: typer.Typer) -> None:
    """The commands of this module."""
    app.add_typer(letters)
