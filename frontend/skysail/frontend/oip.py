"""Open Inference Protocol v2 inference: `POST /v2/models/{model}[/versions/{version}]/infer`.

Any model can be asked, whatever its input type. No application is needed; the deadline is `parameters.timeout`
(microseconds) or the frontend's own.
"""

from __future__ import annotations

from skysail.frontend.encoding import compress, decompress
from skysail.frontend.failures import retry_after
from skysail.frontend.http import JSON_TYPE, Headers, Request, Response, error_response
from skysail.frontend.metrics import FrontendMetrics, outcome_of
from skysail.frontend.oip_answer import array_of_outputs, encode_answer, form_of
from skysail.frontend.oip_inputs import inputs_of, payload_of
from skysail.frontend.oip_wire import InferRequest, decode_request, parameter, tensors_of
from skysail.frontend.routes import LONGEST_TIMEOUT_MS, check_registry
from skysail.topics.client import Answer, PredictionClient, Target
from skysail.topics.errors import BadInputError, NoModelError, SkysailError
from skysail.topics.payloads import TENSOR, decode_tensors
from skysail.topics.records import Outcome
from skysail.topics.specs import ModelSpec

__all__ = ["OipInfer"]

_HEADER_LENGTH = b"inference-header-content-length"
_BINARY_TYPE = (b"content-type", b"application/octet-stream")


class OipInfer:
    """The infer routes."""

    def __init__(
        self, client: PredictionClient, metrics: FrontendMetrics, max_body_bytes: int, timeout_s: float
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._timeout_ms = int(timeout_s * 1000)

    async def __call__(self, model: str, version: str | None, request: Request) -> Response:
        """Answer one request."""
        target: Target | None = None
        try:
            target = self._target(model, version)
            body = await request.read_body(self._max_body_bytes)
            body = await decompress(body, request.headers.get(b"content-encoding"), self._max_body_bytes)
            asked, binary = _decode(request, body, target.spec)
            form = form_of(asked)
            answer = await self._ask(request, target, asked, binary)
            if answer.outcome == Outcome.OK:
                outputs = decode_tensors(answer.value) if answer.tensor else array_of_outputs(target.spec, answer.value)
                encoded = encode_answer(asked.id, form, target.spec.name, answer.version, outputs)
                self._metrics.count_source(answer.source)
                self._observe(request, target, Outcome.OK)
                return await _predicted(request, encoded, answer)
            self._observe(request, target, answer.outcome)
            status = Outcome(answer.outcome).http_status
            return error_response(status, None, answer.cause, request.answer_headers(*retry_after(status)))
        except SkysailError as error:
            self._observe(request, target, outcome_of(error))
            self._metrics.count_rejection(error)
            headers = request.answer_headers(*retry_after(error.status, error))
            return error_response(error.status, None, str(error), headers)

    def _target(self, model: str, version: str | None) -> Target:
        try:
            return self._client.target(model, version)
        except NoModelError:
            check_registry(self._client)
            raise

    async def _ask(self, request: Request, target: Target, asked: InferRequest, binary: bytes) -> Answer:
        timeout_us = parameter(asked.parameters, "timeout", int)
        if timeout_us is not None and timeout_us < 0:
            message = f"parameter 'timeout' is {timeout_us}: expected microseconds, 0 or more"
            raise BadInputError(message)
        payload, content_type, rows = payload_of(target.spec, tensors_of(asked, binary))
        return await self._client.ask(
            target,
            payload,
            # 0 is Triton's way to ask for the server's own limit.
            timeout_ms=min(max(1, timeout_us // 1000), LONGEST_TIMEOUT_MS) if timeout_us else self._timeout_ms,
            content_type=content_type,
            rows=rows,
            accept=TENSOR,
            traceparent=request.traceparent,
            query_id=request.query_id,
        )

    def _observe(self, request: Request, target: Target | None, outcome: str) -> None:
        # Only names that are registered become labels: a scanner must not be able to grow the series.
        model, version = (target.spec.name, target.spec.version) if target is not None else ("", "")
        self._metrics.observe("", model, version, outcome, request.elapsed_s)


def _decode(request: Request, body: bytes, spec: ModelSpec) -> tuple[InferRequest, bytes]:
    length = request.headers.get(_HEADER_LENGTH)
    if length is not None and not (length.isdigit() and len(length) < 20):
        message = f"Inference-Header-Content-Length is {length[:20].decode('latin-1')!r}: expected a number of bytes"
        raise BadInputError(message)
    return decode_request(body, None if length is None else int(length), inputs_of(spec))


async def _predicted(request: Request, encoded: tuple[bytes, int | None], answer: Answer) -> Response:
    body, json_length = encoded
    body, encoding = await compress(body, request.headers.get(b"accept-encoding"))
    timing = (answer.queue_us / 1e3, answer.predict_us / 1e3, request.elapsed_s * 1e3)
    headers: Headers = [
        JSON_TYPE if json_length is None else _BINARY_TYPE,
        (b"server-timing", b"queue;dur=%.3f, predict;dur=%.3f, total;dur=%.3f" % timing),
        (b"x-request-id", request.request_id),
        (b"vary", b"accept-encoding"),
    ]
    if json_length is not None:
        headers.append((_HEADER_LENGTH, b"%d" % json_length))
    if encoding is not None:
        headers.append((b"content-encoding", encoding))
    return Response(200, body, headers)
