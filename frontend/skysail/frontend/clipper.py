"""Clipper's predict route: the hot path.

Bodies and answers are Clipper 0.4's, with its known traps mended: a batch of one stays a batch, every entry of a batch
has its answer, in order, and a failure is told apart from a prediction by the status, or by `default` where the
application has a default output.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import msgspec

from skysail.frontend.batches import Batches
from skysail.frontend.encoding import decompress
from skysail.frontend.failures import FAILED, default_explanation, error_title, is_defaulted, retry_after
from skysail.frontend.http import (
    DISCONNECTED,
    JSON_TYPE,
    Receive,
    Request,
    Scope,
    Send,
    read_body,
    respond,
    respond_error,
)
from skysail.frontend.metrics import FrontendMetrics, outcome_of
from skysail.frontend.routes import Aim, AppRoute, AppRoutes
from skysail.topics.client import PredictionClient
from skysail.topics.errors import NoModelError, SkysailError
from skysail.topics.records import Outcome

__all__ = ["ClipperPredict"]

_OK = str(Outcome.OK)  # an enumeration's members are compared and hashed in Python
_HIT, _MISS = (b"x-cache", b"HIT"), (b"x-cache", b"MISS")


class _Call(Request):
    """A request, and what has been found out about it so far."""

    __slots__ = ("aim", "route", "send")

    def __init__(self, scope: Scope, query_id: str, send: Send) -> None:
        super().__init__(scope, query_id)
        self.send = send
        self.route: AppRoute | None = None
        self.aim: Aim | None = None


class ClipperPredict:
    """`POST /{app}/predict`."""

    def __init__(
        self, client: PredictionClient, routes: AppRoutes, metrics: FrontendMetrics, max_body_bytes: int
    ) -> None:
        self._client = client
        self._routes = routes
        self._metrics = metrics
        self._batches = Batches(client, metrics)
        self._max_body_bytes = max_body_bytes

    async def __call__(self, app: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        call = _Call(scope, self._client.new_id(), send)
        headers = call.headers
        try:
            call.route = route = self._routes.find(app)
            body = await read_body(headers, receive, self._max_body_bytes)
            if b"content-encoding" in headers:
                body = await decompress(body, headers[b"content-encoding"], self._max_body_bytes)
            asked = route.decoder.decode(body)
            try:
                call.aim = aim = route.aim(asked.version)
            except NoModelError as error:
                await self._fail(call, route, Outcome.NO_MODEL, str(error))
                return
            if asked.input is not msgspec.UNSET:
                await self._single(call, route, aim, asked.input)
            else:
                await self._batches.answer(call, route, aim, asked.input_batch, send)
        except SkysailError as error:
            await self._refuse(call, error)

    async def _single(self, call: _Call, route: AppRoute, aim: Aim, row: Any) -> None:
        payload, content_type, rows = aim.encoder.encode((row,), 0)
        answer = await self._client.ask(
            aim.target,
            payload,
            timeout_ms=route.timeout_ms,
            content_type=content_type,
            rows=rows,
            cache_ttl_s=route.ttl_s,
            traceparent=call.traceparent if b"traceparent" in call.headers else None,
            query_id=call.query_id,
        )
        if answer.outcome != _OK:
            await self._fail(call, route, Outcome(answer.outcome), answer.cause)
            return
        # The worker's JSON is an array of one output; it is passed on as it is.
        body = b'{"query_id":"%b","output":%b,"default":false}' % (call.query_id.encode(), answer.value[1:-1])
        duration_s = perf_counter() - call.started
        timing = (answer.queue_us / 1e3, answer.predict_us / 1e3, duration_s * 1e3)
        headers = [
            JSON_TYPE,
            _MISS if answer.source == "model" else _HIT,
            (b"x-request-id", call.request_id),
            (b"server-timing", b"queue;dur=%.3f, predict;dur=%.3f, total;dur=%.3f" % timing),
            (b"skysail-model-version", answer.version.encode()),
        ]
        self._metrics.count_source(answer.source)
        self._metrics.observe(route.app.name, aim.target.spec.name, answer.version, _OK, duration_s)
        await respond(call.send, 200, body, headers)

    async def _fail(self, call: _Call, route: AppRoute, outcome: Outcome, cause: str) -> None:
        """No prediction: the default output where the application has one, else the honest status."""
        self._observe(call, outcome)
        default = route.default
        if default is not None and is_defaulted(outcome):
            answer = {
                "query_id": call.query_id,
                "output": msgspec.Raw(default),
                "default": True,
                "default_explanation": default_explanation(outcome, cause),
            }
            await respond(call.send, 200, msgspec.json.encode(answer), call.answer_headers())
        else:
            headers = call.answer_headers(*retry_after(outcome.http_status))
            await respond_error(call.send, outcome.http_status, FAILED[outcome], cause, headers)

    async def _refuse(self, call: _Call, error: SkysailError) -> None:
        """The request never became a query."""
        self._observe(call, outcome_of(error))
        self._metrics.count_rejection(error)
        if error.status != DISCONNECTED:
            headers = call.answer_headers(*retry_after(error.status, error))
            await respond_error(call.send, error.status, error_title(error), str(error), headers)

    def _observe(self, call: _Call, outcome: str) -> None:
        # Only names that are registered become labels: a scanner must not be able to grow the series.
        app = call.route.app.name if call.route is not None else ""
        model, version = (call.aim.target.spec.name, call.aim.target.spec.version) if call.aim is not None else ("", "")
        self._metrics.observe(app, model, version, outcome, call.elapsed_s)
