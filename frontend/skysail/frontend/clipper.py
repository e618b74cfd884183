"""Clipper's predict route: the hot path.

Bodies and answers are Clipper 0.4's, with its known traps mended: a batch of one stays a batch, every entry of a batch
has its answer, in order, and a failure is told apart from a prediction by the status, or by `default` where the
application has a default output.
"""

from __future__ import annotations

from time import perf_counter

import msgspec

from skysail.frontend.batches import Batches
from skysail.frontend.encoding import decompress
from skysail.frontend.failures import FAILED, default_explanation, error_title, is_defaulted, retry_after
from skysail.frontend.http import JSON_TYPE, Request, Response, error_response
from skysail.frontend.metrics import FrontendMetrics, outcome_of
from skysail.frontend.routes import Aim, AppRoute, AppRoutes
from skysail.topics.client import Answer, PredictionClient
from skysail.topics.errors import NoModelError, SkysailError
from skysail.topics.records import Outcome

__all__ = ["ClipperPredict"]

_OK = str(Outcome.OK)  # an enumeration's members are compared and hashed in Python
_HIT, _MISS = (b"x-cache", b"HIT"), (b"x-cache", b"MISS")


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

    async def __call__(self, app: str, request: Request) -> Response:
        """Answer one request."""
        headers = request.headers
        route: AppRoute | None = None
        aim: Aim | None = None
        try:
            route = self._routes.find(app)
            body = await request.read_body(self._max_body_bytes)
            if b"content-encoding" in headers:
                body = await decompress(body, headers[b"content-encoding"], self._max_body_bytes)
            asked = route.decoder.decode(body)
            try:
                aim = route.aim(asked.version)
            except NoModelError as error:
                return self._failed(request, route, None, Outcome.NO_MODEL, str(error))
            if asked.input is msgspec.UNSET:
                return await self._batches.answer(request, route, aim, asked.input_batch)
            payload, content_type, rows = aim.encoder.encode((asked.input,), 0)
            answer = await self._client.ask(
                aim.target,
                payload,
                timeout_ms=route.timeout_ms,
                content_type=content_type,
                rows=rows,
                cache_ttl_s=route.ttl_s,
                traceparent=request.traceparent if b"traceparent" in headers else None,
                query_id=request.query_id,
            )
        except SkysailError as error:
            return self._refused(request, route, aim, error)
        if answer.outcome == _OK:
            return self._predicted(request, route, aim, answer)
        return self._failed(request, route, aim, Outcome(answer.outcome), answer.cause)

    def _predicted(self, request: Request, route: AppRoute, aim: Aim, answer: Answer) -> Response:
        # The worker's JSON is an array of one output; it is passed on as it is.
        body = b'{"query_id":"%b","output":%b,"default":false}' % (request.query_id.encode(), answer.value[1:-1])
        duration_s = perf_counter() - request.started
        timing = (answer.queue_us / 1e3, answer.predict_us / 1e3, duration_s * 1e3)
        headers = [
            JSON_TYPE,
            _MISS if answer.source == "model" else _HIT,
            (b"x-request-id", request.request_id),
            (b"server-timing", b"queue;dur=%.3f, predict;dur=%.3f, total;dur=%.3f" % timing),
            (b"skysail-model-version", answer.version.encode()),
        ]
        self._metrics.count_source(answer.source)
        self._metrics.observe(route.app.name, aim.target.spec.name, answer.version, _OK, duration_s)
        return Response(200, body, headers)

    def _failed(self, request: Request, route: AppRoute, aim: Aim | None, outcome: Outcome, cause: str) -> Response:
        """No prediction: the default output where the application has one, else the honest status."""
        self._observe(request, route, aim, outcome)
        default = route.default
        if default is not None and is_defaulted(outcome):
            answer = {
                "query_id": request.query_id,
                "output": msgspec.Raw(default),
                "default": True,
                "default_explanation": default_explanation(outcome, cause),
            }
            return Response(200, msgspec.json.encode(answer), request.answer_headers())
        headers = request.answer_headers(*retry_after(outcome.http_status))
        return error_response(outcome.http_status, FAILED[outcome], cause, headers)

    def _refused(self, request: Request, route: AppRoute | None, aim: Aim | None, error: SkysailError) -> Response:
        """The request never became a query."""
        self._observe(request, route, aim, outcome_of(error))
        self._metrics.count_rejection(error)
        headers = request.answer_headers(*retry_after(error.status, error))
        return error_response(error.status, error_title(error), str(error), headers)

    def _observe(self, request: Request, route: AppRoute | None, aim: Aim | None, outcome: str) -> None:
        # Only names that are registered become labels: a scanner must not be able to grow the series.
        app = route.app.name if route is not None else ""
        model, version = (aim.target.spec.name, aim.target.spec.version) if aim is not None else ("", "")
        self._metrics.observe(app, model, version, outcome, request.elapsed_s)
