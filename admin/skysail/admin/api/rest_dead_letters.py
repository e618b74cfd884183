"""`/api/v1/models/{model}/dead-letters`: what could neither be read nor computed."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from skysail.admin.api.bodies import answer_json
from skysail.admin.service import AdminService
from skysail.admin.service.dead_letters import Found
from skysail.topics.dead_letters import LetterFilter
from skysail.topics.errors import NotFoundError

__all__ = ["add_dead_letters"]

_MOST = 10_000
_PREVIEW_BYTES = 80

Limit = Annotated[int, Query(ge=1, le=_MOST, description="The last so many.")]
Version = Annotated[str | None, Query(description="Of this version's topic; by default of all the model's topics.")]
DryRun = Annotated[bool, Query(description="Only say which letters are meant.")]


def _wanted(
    *,
    id: Annotated[str | None, Query(description="Query id.")] = None,  # noqa: A002 - the parameter's name
    reason: Annotated[str | None, Query(description="`undecodable` or `crash_limit`.")] = None,
    error: Annotated[str | None, Query(description="A part of the error's text.")] = None,
    since_ms: Annotated[int | None, Query(description="Buried from then on, unix ms.")] = None,
    until_ms: Annotated[int | None, Query(description="Buried before that, unix ms.")] = None,
) -> LetterFilter:
    return LetterFilter(query_id=id, reason=reason, error=error, since_ms=since_ms, until_ms=until_ms)


Wanted = Annotated[LetterFilter, Depends(_wanted)]


def add_dead_letters(router: APIRouter, service: AdminService) -> None:
    """Look at them, send them once more, delete them."""
    letters = service.dead_letters
    path = "/models/{model}/dead-letters"

    @router.get(path, tags=["dead letters"])
    async def list_letters(model: str, wanted: Wanted, version: Version = None, limit: Limit = 100) -> Response:
        """The last letters, in the order of their burial."""
        return answer_json([_summary(one) for one in await letters.find(model, version, wanted, limit)])

    @router.get(path + "/{query_id}", tags=["dead letters"])
    async def show_letter(model: str, query_id: str, version: Version = None) -> Response:
        """Everything about the letters of one query; values and headers are base64 where they are not UTF-8."""
        found = await letters.find(model, version, LetterFilter(query_id=query_id), _MOST)
        if not found:
            message = f"model {model!r} has no dead letter of query {query_id!r}"
            raise NotFoundError(message)
        return answer_json([_whole(one) for one in found])

    @router.post(path + "/replay", tags=["dead letters"])
    async def replay(
        model: str,
        wanted: Wanted,
        *,
        version: Version = None,
        limit: Limit = _MOST,
        again: Annotated[bool, Query(description="Those too that were sent once more before.")] = False,
        to_model: Annotated[bool, Query(description="To the model's topic: its current version answers.")] = False,
        dry_run: DryRun = False,
    ) -> Response:
        """Send letters once more, with their ids; returns which."""
        found = await letters.find(model, version, wanted, limit)
        meant = [one for one in found if again or one.replayed_ms is None]
        if not dry_run:
            await letters.replay(meant, model, to_model=to_model)
        return answer_json([_summary(one) for one in meant])

    @router.delete(path, tags=["dead letters"])
    async def purge(
        model: str,
        *,
        version: Version = None,
        until_ms: Annotated[int | None, Query(description="Buried before that, unix ms; by default all.")] = None,
        dry_run: DryRun = False,
    ) -> Response:
        """Delete letters from the oldest on; returns how many."""
        found = await letters.find(model, version, LetterFilter(until_ms=until_ms), _MOST)
        if not dry_run:
            await letters.purge(found)
        return answer_json({"purged": len(found)})


def _summary(found: Found) -> dict[str, Any]:
    letter = found.letter
    value = letter.record.value or b""
    return {
        "id": letter.query_id,
        "reason": letter.reason,
        "error": letter.error,
        "buried_ms": letter.buried_ms,
        "replayed_ms": found.replayed_ms,
        "from": f"{letter.topic}/{letter.partition}/{letter.offset}",
        "at": f"{letter.record.topic}/{letter.place}",
        "bytes": len(value),
        "value": value[:_PREVIEW_BYTES].decode("utf-8", "backslashreplace"),
    }


def _whole(found: Found) -> dict[str, Any]:
    letter = found.letter
    headers = [{"name": name, **_shown(value)} for name, value in letter.record.headers or ()]
    key = letter.record.key
    return {
        **_summary(found),
        "sent_ms": letter.timestamp_ms,
        "value": None,
        **_shown(letter.record.value),
        "key": None if key is None else _shown(key),
        "headers": headers,
    }


def _shown(data: bytes | None) -> dict[str, Any]:
    if data is None:
        return {"value": None}
    try:
        return {"value": data.decode()}
    except UnicodeDecodeError:
        return {"value": base64.b64encode(data).decode(), "base64": True}
