"""Clipper's predict route: the hot path.

Bodies and answers are Clipper 0.4's, with its known traps mended: a batch of one stays a batch, every entry of a batch
has its answer, in order, and a failure is told apart from a prediction by the status, or by `default` where the
application has a default output.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import msgspec

from skysail.frontend.http import Headers, Receive, Scope, Send, read_body, respond
from skysail.frontend.inputs import RowEncoder
from skysail.frontend.metrics import FrontendMetrics
from skysail.frontend.routes import NO_MODEL, AppRoute, AppRoutes
from skysail.topics.client import Answer, PredictionClient, Target
from skysail.topics.errors import BadInputError, NoModelError, NotFoundError, RejectedError, SkysailError
from skysail.topics.records import Outcome

__all__ = ["ClipperPredict"]

_JSON_TYPE = (b"content-type", b"application/json")
_HIT, _MISS = (b"x-cache", b"HIT"), (b"x-cache", b"MISS")
_ROWS = msgspec.json.Decoder(list[msgspec.Raw])

#: Clipper's `error` for each outcome that has none of its own there.
_ERRORS = {
    Outcome.BAD_INPUT: "Query processing error",
    Outcome.MODEL_ERROR: "Model error",
    Outcome.EXPIRED: "Deadline exceeded",
    Outcome.NO_MODEL: "No model",
    Outcome.REJECTED: "Rejected",
}
#: What a default output may stand in for.
_DEFAULTED = frozenset({Outcome.MODEL_ERROR, Outcome.EXPIRED, Outcome.NO_MODEL})
#: Outcomes of a record of several rows after which its rows are asked one by one, so that only the guilty one fails.
_RETRIED_ALONE = frozenset({Outcome.BAD_INPUT, Outcome.MODEL_ERROR})


class _Call:
    """What one request needs on its way through."""

    __slots__ = ("encoder", "query_id", "request_id", "route", "started", "target", "traceparent")

    def __init__(self, scope: Scope, query_id: str) -> None:
        self.started = perf_counter()
        self.query_id = query_id
        self.request_id = b""
        self.traceparent: str | None = None
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                self.request_id = value
            elif name == b"traceparent":
                self.traceparent = value.decode("latin-1")
        self.route: AppRoute
        self.target: Target
        self.encoder: RowEncoder

    def headers(self, *more: tuple[bytes, bytes]) -> Headers:
        """Of the answer."""
        total = f"total;dur={(perf_counter() - self.started) * 1e3:.3f}"
        return [
            _JSON_TYPE,
            *more,
            (b"x-request-id", self.request_id or self.query_id.encode()),
            (b"server-timing", total.encode()),
        ]


class ClipperPredict:
    """`POST /{app}/predict`."""

    def __init__(
        self, client: PredictionClient, routes: AppRoutes, metrics: FrontendMetrics, max_body_bytes: int
    ) -> None:
        self._client = client
        self._routes = routes
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes

    async def __call__(self, app: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        call = _Call(scope, self._client.new_id())
        try:
            body = await read_body(scope, receive, self._max_body_bytes)
            call.route = route = self._routes.find(app)
            request = route.decoder.decode(body)
            self._aim(call, request.version)
            if request.input is not msgspec.UNSET:
                await self._single(call, request.input, send)
            else:
                await self._batch(call, request.input_batch, send)
        except NoModelError as error:
            await self._no_model(call, error, send)
        except SkysailError as error:
            await self._refuse(call, app, error, send)

    @staticmethod
    def _aim(call: _Call, version: str | int | None) -> None:
        route = call.route
        if version is not None:
            try:
                call.target, call.encoder = route.pinned(str(version))
            except NoModelError as error:  # Clipper's 400: the request names what is not there
                raise BadInputError(str(error)) from None
        elif route.target is None or route.encoder is None:
            raise NoModelError(NO_MODEL)
        else:
            call.target, call.encoder = route.target, route.encoder

    async def _ask(self, call: _Call, rows: Sequence[Any], query_id: str) -> Answer:
        route = call.route
        payload, content_type, count = call.encoder.encode(rows)
        return await self._client.ask(
            call.target,
            payload,
            timeout_ms=route.timeout_ms,
            content_type=content_type,
            rows=count,
            cache_ttl_s=route.ttl_s,
            traceparent=call.traceparent,
            query_id=query_id,
        )

    async def _single(self, call: _Call, row: Any, send: Send) -> None:
        answer = await self._ask(call, (row,), call.query_id)
        if answer.outcome != Outcome.OK:
            await self._failed(call, Outcome(answer.outcome), answer.cause, send)
            return
        body = b'{"query_id":"%b","output":%b,"default":false}' % (call.query_id.encode(), answer.value[1:-1])
        duration = perf_counter() - call.started
        timing = b"queue;dur=%.3f, predict;dur=%.3f, total;dur=%.3f" % (
            answer.queue_us / 1e3,
            answer.predict_us / 1e3,
            duration * 1e3,
        )
        headers = [
            _JSON_TYPE,
            _MISS if answer.source == "model" else _HIT,
            (b"x-request-id", call.request_id or call.query_id.encode()),
            (b"server-timing", timing),
            (b"skysail-model-version", answer.version.encode()),
        ]
        self._metrics.count_source(answer.source)
        self._observe(call, answer.version, "ok", duration)
        await respond(send, 200, body, headers)

    # ------------------------------------------------------------------------------------------------ batches

    async def _batch(self, call: _Call, rows: list[Any], send: Send) -> None:
        size = call.target.spec.batch.max_rows
        chunks = [rows[start : start + size] for start in range(0, len(rows), size)]
        ids = [call.query_id, *(self._client.new_id() for _ in chunks[1:])]
        asked = [self._chunk(call, chunk, chunk_id) for chunk, chunk_id in zip(chunks, ids, strict=True)]
        entries = [entry for chunk in await asyncio.gather(*asked) for entry in chunk]
        outcomes = [outcome for outcome, _ in entries]
        self._observe(call, call.target.spec.version, str(_worst(outcomes)), perf_counter() - call.started)
        answer: dict[str, Any] = {"batch_predictions": [entry for _, entry in entries]}
        status = 200 if Outcome.OK in outcomes or call.route.default is not None else outcomes[0].http_status
        if status != 200:
            answer |= {"error": _ERRORS[outcomes[0]], "cause": "no entry of the batch has a prediction"}
        await respond(send, status, msgspec.json.encode(answer), call.headers())

    async def _chunk(self, call: _Call, rows: list[Any], chunk_id: str) -> list[tuple[Outcome, dict[str, Any]]]:
        answer = await self._ask(call, rows, chunk_id)
        outcome = Outcome(answer.outcome)
        if outcome in _RETRIED_ALONE and len(rows) > 1:
            ids = [f"{chunk_id}-{index}" for index in range(len(rows))]
            alone = await asyncio.gather(*(self._chunk(call, [row], i) for row, i in zip(rows, ids, strict=True)))
            return [entry for entries in alone for entry in entries]
        self._metrics.count_source(answer.source)
        if outcome is Outcome.OK:
            outputs: Sequence[Any] = _ROWS.decode(answer.value)
        else:
            outputs = [None] * len(rows)
        return [
            (outcome, self._entry(call, chunk_id if len(rows) == 1 else f"{chunk_id}-{index}", output, outcome, answer))
            for index, output in enumerate(outputs)
        ]

    @staticmethod
    def _entry(call: _Call, query_id: str, output: Any, outcome: Outcome, answer: Answer) -> dict[str, Any]:
        if outcome is Outcome.OK:
            return {"query_id": query_id, "output": output, "default": False}
        if call.route.default is not None and outcome in _DEFAULTED:
            default = msgspec.Raw(call.route.default)
            return {"query_id": query_id, "output": default, "default": True, "default_explanation": answer.cause}
        error = {"error": _ERRORS[outcome], "cause": answer.cause}
        return {"query_id": query_id, "output": None, "default": False, **error}

    # ------------------------------------------------------------------------------------------------ failures

    async def _failed(self, call: _Call, outcome: Outcome, cause: str, send: Send) -> None:
        """No prediction: the default output where the application has one, else the honest status."""
        version = call.target.spec.version if hasattr(call, "target") else ""
        self._observe(call, version, outcome, perf_counter() - call.started)
        default = call.route.default
        if default is not None and outcome in _DEFAULTED:
            answer = {
                "query_id": call.query_id,
                "output": msgspec.Raw(default),
                "default": True,
                "default_explanation": cause,
            }
            await respond(send, 200, msgspec.json.encode(answer), call.headers())
            return
        body = msgspec.json.encode({"error": _ERRORS[outcome], "cause": cause})
        await respond(send, outcome.http_status, body, call.headers())

    async def _no_model(self, call: _Call, error: NoModelError, send: Send) -> None:
        await self._failed(call, Outcome.NO_MODEL, str(error), send)

    async def _refuse(self, call: _Call, app: str, error: SkysailError, send: Send) -> None:
        """The request never became a query."""
        title = _title(error)
        more: Headers = [(b"retry-after", b"%d" % error.retry_after_s)] if isinstance(error, RejectedError) else []
        known = hasattr(call, "route")
        self._metrics.observe(app if known else "", "", "", _outcome_of(error), perf_counter() - call.started)
        if error.status != 499:
            body = msgspec.json.encode({"error": title, "cause": str(error)})
            await respond(send, error.status, body, call.headers(*more))

    def _observe(self, call: _Call, version: str, outcome: str, duration_s: float) -> None:
        model = call.target.spec.name if hasattr(call, "target") else ""
        self._metrics.observe(call.route.app.name, model, version, outcome, duration_s)


def _title(error: SkysailError) -> str:
    if isinstance(error, BadInputError):
        return "Json error" if str(error).startswith("Error parsing JSON") else "Query processing error"
    if isinstance(error, NotFoundError):
        return "Application not found"
    return {413: "Request too large", 429: "Too many queries in flight", 503: "Service unavailable"}.get(
        error.status, "Error"
    )


def _outcome_of(error: SkysailError) -> str:
    if isinstance(error, RejectedError):
        return Outcome.REJECTED
    if isinstance(error, NotFoundError):
        return Outcome.NO_MODEL
    return "disconnected" if error.status == 499 else Outcome.BAD_INPUT


def _worst(outcomes: list[Outcome]) -> Outcome:
    return next((outcome for outcome in outcomes if outcome is not Outcome.OK), Outcome.OK)
