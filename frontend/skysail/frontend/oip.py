"""Open Inference Protocol v2 inference: `POST /v2/models/{model}[/versions/{version}]/infer`.

Any model can be asked, whatever its input type: vectors take one tensor of shape (rows, n); strings and bytes take one
BYTES tensor of shape (rows,) or (rows, 1); json takes a BYTES tensor of JSON texts, or any tensors; tensors take their
declared inputs. No application is needed; the deadline is `parameters.timeout` (microseconds) or the frontend's own.
"""

from __future__ import annotations

import zlib
from time import perf_counter
from typing import Any

import msgspec
import numpy as np

from skysail.frontend.http import Headers, Receive, Scope, Send, find_header, read_body, respond
from skysail.frontend.metrics import FrontendMetrics
from skysail.frontend.oip_wire import InferRequest, decode_request, decompress, encode_response, tensors_of
from skysail.topics.client import Answer, PredictionClient, Target
from skysail.topics.errors import BadInputError, RejectedError, SkysailError
from skysail.topics.payloads import JSON, TENSOR, Array, decode_json, decode_tensors, dtype_of, encode_tensors
from skysail.topics.records import Outcome
from skysail.topics.specs import InputType, ModelSpec

__all__ = ["OipInfer", "array_of_outputs", "payload_of"]

_OUTPUT = "output"


class OipInfer:
    """The infer routes."""

    def __init__(
        self, client: PredictionClient, metrics: FrontendMetrics, max_body_bytes: int, timeout_s: float
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._timeout_ms = int(timeout_s * 1000)

    async def __call__(self, model: str, version: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = perf_counter()
        outcome, served = str(Outcome.BAD_INPUT), ""
        try:
            body = await read_body(scope, receive, self._max_body_bytes)
            target = self._client.target(model, version)
            served = target.spec.version
            request, binary = self._decode(scope, body, target.spec)
            answer = await self._ask(target, request, binary, scope)
            outcome = answer.outcome
            if outcome == Outcome.OK:
                self._metrics.count_source(answer.source)
                tensors = decode_tensors(answer.value) if answer.tensor else array_of_outputs(target.spec, answer.value)
                body, json_length = encode_response(request, model, answer.version, tensors)
                await _succeed(scope, send, body, json_length, _timing(answer, started))
            else:
                await _refuse(send, Outcome(outcome).http_status, answer.cause)
        except SkysailError as error:
            outcome = _outcome_of(error)
            if error.status != 499:
                await _refuse(send, error.status, str(error), getattr(error, "retry_after_s", None))
        self._metrics.observe("", model if served else "", served, outcome, perf_counter() - started)

    def _decode(self, scope: Scope, body: bytes, spec: ModelSpec) -> tuple[InferRequest, bytes]:
        encoding = find_header(scope, b"content-encoding")
        if encoding is not None and encoding != b"identity":
            body = decompress(body, encoding.decode("latin-1").strip().lower(), self._max_body_bytes)
        length = find_header(scope, b"inference-header-content-length")
        if length is not None and not length.isdigit():
            message = f"Inference-Header-Content-Length is {length.decode('latin-1')!r}: expected a number of bytes"
            raise BadInputError(message)
        return decode_request(body, None if length is None else int(length), spec.inputs)

    async def _ask(self, target: Target, request: InferRequest, binary: bytes, scope: Scope) -> Answer:
        payload, content_type, rows = payload_of(target.spec, tensors_of(request, binary))
        timeout_us = request.parameter("timeout", int)
        traceparent = find_header(scope, b"traceparent")
        return await self._client.ask(
            target,
            payload,
            timeout_ms=max(1, timeout_us // 1000) if timeout_us else self._timeout_ms,
            content_type=content_type,
            rows=rows,
            accept=TENSOR,
            traceparent=traceparent.decode("latin-1") if traceparent else None,
        )


def _timing(answer: Answer, started: float) -> bytes:
    """The Server-Timing header's value."""
    timing = (answer.queue_us / 1e3, answer.predict_us / 1e3, (perf_counter() - started) * 1e3)
    return b"queue;dur=%.3f, predict;dur=%.3f, total;dur=%.3f" % timing


async def _succeed(scope: Scope, send: Send, body: bytes, json_length: int | None, timing: bytes) -> None:
    kind = b"application/json" if json_length is None else b"application/octet-stream"
    headers: Headers = [(b"content-type", kind), (b"server-timing", timing)]
    if json_length is not None:
        headers.append((b"inference-header-content-length", b"%d" % json_length))
    accepted = find_header(scope, b"accept-encoding") or b""
    if b"gzip" in accepted or b"deflate" in accepted:
        encoding, body = _compress(body, accepted)
        headers.append((b"content-encoding", encoding))
    request_id = find_header(scope, b"x-request-id")
    if request_id is not None:
        headers.append((b"x-request-id", request_id))
    await respond(send, 200, body, headers)


def _compress(body: bytes, accepted: bytes) -> tuple[bytes, bytes]:
    if b"gzip" in accepted:
        zipper = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
        return b"gzip", zipper.compress(body) + zipper.flush()
    return b"deflate", zlib.compress(body, 1)


async def _refuse(send: Send, status: int, cause: str, retry_after_s: int | None = None) -> None:
    headers: Headers = [(b"content-type", b"application/json")]
    if retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % retry_after_s))
    await respond(send, status, msgspec.json.encode({"error": cause}), headers)


def _outcome_of(error: SkysailError) -> str:
    if isinstance(error, RejectedError):
        return Outcome.REJECTED
    return {404: str(Outcome.NO_MODEL), 499: "disconnected"}.get(error.status, str(Outcome.BAD_INPUT))


def payload_of(spec: ModelSpec, tensors: dict[str, Array]) -> tuple[bytes, str, int]:
    """Payload, content type and rows for a model out of a request's tensors.

    Raises:
        BadInputError: naming what the model takes and what came.
    """
    rows = {name: len(array) for name, array in tensors.items()}
    if len(set(rows.values())) != 1:
        message = f"the first dimension of every input is the row count; got {rows}"
        raise BadInputError(message)
    count = next(iter(rows.values()))
    if count < 1:
        message = "the inputs hold no rows: expected at least one"
        raise BadInputError(message)
    if spec.input_type is InputType.TENSORS:
        return encode_tensors(_declared(spec, tensors)), TENSOR, count
    if spec.input_type is InputType.JSON:
        return _json_rows(tensors, count)
    return encode_tensors({"input": _one_input(spec, tensors)}), TENSOR, count


def _declared(spec: ModelSpec, tensors: dict[str, Array]) -> dict[str, Array]:
    for known in spec.inputs:
        array = tensors.get(known.name)
        shape = None if array is None else array.shape
        if (
            array is None
            or len(array.shape) != len(known.shape)
            or any(want >= 0 and want != got for want, got in zip(known.shape, array.shape, strict=True))
        ):
            message = f"model {spec.name} takes input {known.name!r} of shape {list(known.shape)}, got {shape}"
            raise BadInputError(message)
    return tensors


def _one_input(spec: ModelSpec, tensors: dict[str, Array]) -> Array:
    kind = spec.input_type
    shape = "(rows, n)" if kind.is_numeric else "(rows,) or (rows, 1)"
    if len(tensors) != 1:
        message = f"model {spec.name} takes one input of {kind.datatype} and shape {shape}, got {len(tensors)} inputs"
        raise BadInputError(message)
    ((name, array),) = tensors.items()
    fits = array.ndim == 2 if kind.is_numeric else array.size == len(array)
    if not fits or (array.dtype.kind == "O") == kind.is_numeric:
        got = f"{array.dtype if array.dtype.kind != 'O' else 'BYTES'} of shape {list(array.shape)}"
        message = f"model {spec.name} takes {kind.datatype} of shape {shape}; input {name!r} is {got}"
        raise BadInputError(message)
    if not kind.is_numeric:
        return array
    return _as_numbers(spec, name, array)


def _as_numbers(spec: ModelSpec, name: str, array: Array) -> Array:
    declared = spec.inputs[0].shape if len(spec.inputs) == 1 else ()
    if len(declared) == 2 and declared[1] >= 0 and declared[1] != array.shape[1]:
        message = f"model {spec.name} takes {declared[1]} numbers in a row, input {name!r} has {array.shape[1]}"
        raise BadInputError(message)
    dtype = dtype_of(spec.input_type.datatype or "")
    if dtype.kind == "i" and array.dtype.kind == "f" and (np.mod(array, 1) != 0).any():
        message = f"model {spec.name} takes integers; input {name!r} holds fractions"
        raise BadInputError(message)
    if dtype.kind == "i" and array.size and (array.min() < -(2**31) or array.max() >= 2**31):
        message = f"model {spec.name} takes 32-bit integers; input {name!r} goes beyond"
        raise BadInputError(message)
    return array.astype(dtype, copy=False)


def _json_rows(tensors: dict[str, Array], count: int) -> tuple[bytes, str, int]:
    array = next(iter(tensors.values()))
    if len(tensors) > 1 or array.dtype.kind != "O" or array.size != count:
        return encode_tensors(tensors), TENSOR, count
    texts = array.ravel().tolist()
    for index, text in enumerate(texts):
        try:
            decode_json(text)
        except SkysailError as error:
            message = f"row {index}: {error}; a json model takes BYTES elements that are JSON texts"
            raise BadInputError(message) from None
    return b"[" + b",".join(texts) + b"]", JSON, count


def array_of_outputs(spec: ModelSpec, value: bytes) -> dict[str, Array]:
    """Outputs that the worker could only send as JSON, as tensors: numbers and booleans as such, text as BYTES.

    Anything irregular becomes a BYTES tensor of JSON texts, one for each row.
    """
    outputs: list[Any] = decode_json(value)
    name = spec.outputs[0].name if spec.outputs else _OUTPUT
    if outputs and all(isinstance(output, str) for output in outputs):
        return {name: _bytes_array([output.encode() for output in outputs])}
    try:
        array = np.array(outputs)
    except ValueError:
        array = np.empty(0, dtype=object)
    if array.dtype.kind in "iufb":
        return {name: array}
    return {name: _bytes_array([msgspec.json.encode(output) for output in outputs])}


def _bytes_array(elements: list[bytes]) -> Array:
    array: Array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array
