"""Clipper's `input_batch`: one record, or several where it is larger than the model's largest batch.

Each entry has its own outcome. A record fails as a whole when one of its rows makes the model raise, so after such a
failure its rows are asked one by one, all at once, within what is left of the deadline: only the guilty ones fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from skysail.frontend.failures import FAILED, default_explanation, error_title, is_defaulted, retry_after
from skysail.frontend.http import Headers, Request, Response
from skysail.frontend.metrics import FrontendMetrics
from skysail.frontend.routes import Aim, AppRoute
from skysail.frontend.rows import Payload
from skysail.topics.client import Answer, PredictionClient
from skysail.topics.errors import RejectedError
from skysail.topics.records import Outcome

__all__ = ["Batches"]

_ROWS = msgspec.json.Decoder(list[msgspec.Raw])
_ASKED_ALONE = frozenset({Outcome.BAD_INPUT, Outcome.MODEL_ERROR})


class _Part:
    """Some rows of a batch that travel as one record."""

    __slots__ = ("first", "payload", "query_id", "rows")

    def __init__(self, query_id: str, rows: Sequence[Any], first: int, payload: Payload) -> None:
        self.query_id = query_id
        self.rows = rows
        self.first = first
        self.payload = payload

    def entry_id(self, index: int) -> str:
        """The id of one of its entries."""
        return self.query_id if len(self.rows) == 1 else f"{self.query_id}-{index}"


class _Result:
    """What became of a part: an answer for all its rows, or the refusal of its record."""

    __slots__ = ("answer", "outcome", "part", "refusal")

    def __init__(self, part: _Part, answer: Answer | None, refusal: RejectedError | None = None) -> None:
        self.part = part
        self.answer = answer
        self.refusal = refusal
        self.outcome = Outcome(answer.outcome) if answer is not None else Outcome.REJECTED

    @property
    def status(self) -> int:
        """HTTP status that it would have alone."""
        return self.refusal.status if self.refusal is not None else self.outcome.http_status

    @property
    def title(self) -> str:
        """`error` of a failure."""
        return error_title(self.refusal) if self.refusal is not None else FAILED[self.outcome]

    @property
    def cause(self) -> str:
        """Of a failure."""
        return str(self.refusal) if self.answer is None else self.answer.cause


class Batches:
    """Answers requests with `input_batch`."""

    def __init__(self, client: PredictionClient, metrics: FrontendMetrics) -> None:
        self._client = client
        self._metrics = metrics

    async def answer(self, request: Request, route: AppRoute, aim: Aim, rows: list[Any]) -> Response:
        """Answer one request.

        Raises:
            BadInputError: when a row cannot be encoded for the model.
            PayloadTooLargeError: when a part is larger than a record may be.
        """
        parts = self._parts(request, aim, rows)
        found = await asyncio.gather(*[self._ask(request, route, aim, part) for part in parts])
        results = [result for results in found for result in results]
        failed = [result for result in results if result.outcome is not Outcome.OK]
        worst = failed[0].outcome if failed else Outcome.OK
        spec = aim.target.spec
        self._metrics.observe(route.app.name, spec.name, spec.version, worst, request.elapsed_s)
        body: dict[str, Any] = {
            "batch_predictions": [entry for result in results for entry in _entries(result, route.default)]
        }
        headers = request.answer_headers((b"skysail-model-version", spec.version.encode()), *_cache_header(results))
        if any(result.outcome is Outcome.OK or _has_default(result, route) for result in results):
            return Response(200, msgspec.json.encode(body), headers)
        first = failed[0]
        body |= {"error": first.title, "cause": f"no entry of the batch has a prediction; the first: {first.cause}"}
        headers += retry_after(first.status, first.refusal)
        return Response(first.status, msgspec.json.encode(body), headers)

    def _parts(self, request: Request, aim: Aim, rows: list[Any]) -> list[_Part]:
        size = aim.target.spec.batch.max_rows
        encode = aim.encoder.encode
        parts = []
        for first in range(0, len(rows), size):
            chunk = rows[first : first + size] if len(rows) > size else rows
            query_id = self._client.new_id() if first else request.query_id
            parts.append(_Part(query_id, chunk, first, encode(chunk, first)))
        return parts

    async def _ask(self, request: Request, route: AppRoute, aim: Aim, part: _Part) -> list[_Result]:
        result = await self._ask_once(request, route, aim, part, route.timeout_ms)
        if result.outcome not in _ASKED_ALONE or len(part.rows) == 1:
            return [result]
        left_ms = route.timeout_ms - int(request.elapsed_s * 1000)
        if left_ms < 1:
            return [_Result(part, _out_of_time(result))]
        encode = aim.encoder.encode
        alone = [
            _Part(part.entry_id(index), (row,), part.first + index, encode((row,), part.first + index))
            for index, row in enumerate(part.rows)
        ]
        return await asyncio.gather(*[self._ask_once(request, route, aim, one, left_ms) for one in alone])

    async def _ask_once(self, request: Request, route: AppRoute, aim: Aim, part: _Part, timeout_ms: int) -> _Result:
        payload, content_type, count = part.payload
        try:
            answer = await self._client.ask(
                aim.target,
                payload,
                timeout_ms=timeout_ms,
                content_type=content_type,
                rows=count,
                cache_ttl_s=route.ttl_s,
                traceparent=request.traceparent,
                query_id=part.query_id,
            )
        except RejectedError as error:  # too many in flight, broker or store away: the other parts may be answered
            self._metrics.count_rejection(error)
            return _Result(part, None, error)
        if answer.outcome == Outcome.OK:
            self._metrics.count_source(answer.source)
        return _Result(part, answer)


def _out_of_time(result: _Result) -> Answer:
    cause = f"its record failed ({result.cause}), and no time was left to ask its rows one by one"
    return Answer(Outcome.EXPIRED, cause.encode(), tensor=False, version="", source="client")


def _has_default(result: _Result, route: AppRoute) -> bool:
    return route.default is not None and is_defaulted(result.outcome)


def _cache_header(results: list[_Result]) -> Headers:
    answered = [result.answer.source for result in results if result.answer is not None]
    hit = bool(answered) and "model" not in answered and "client" not in answered
    return [(b"x-cache", b"HIT" if hit else b"MISS")]


def _entries(result: _Result, default: bytes | None) -> list[dict[str, Any]]:
    part = result.part
    if result.answer is not None and result.outcome is Outcome.OK:
        outputs: list[msgspec.Raw] = _ROWS.decode(result.answer.value)
        return [
            {"query_id": part.entry_id(index), "output": output, "default": False}
            for index, output in enumerate(outputs)
        ]
    if default is not None and is_defaulted(result.outcome):
        explanation = default_explanation(result.outcome, result.cause)
        told = {"output": msgspec.Raw(default), "default": True, "default_explanation": explanation}
    else:
        told = {"output": None, "default": False, "error": result.title, "cause": result.cause}
    return [{"query_id": part.entry_id(index), **told} for index in range(len(part.rows))]
