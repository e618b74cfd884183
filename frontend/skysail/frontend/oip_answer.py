"""Open Inference Protocol v2 answers: the outputs that were asked for, as JSON or binary tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

from skysail.frontend.oip_wire import InferRequest, parameter
from skysail.frontend.tensors import array_from_json
from skysail.topics.errors import BadInputError, ModelError
from skysail.topics.payloads import Array, datatype_of, decode_json, dtype_of, pack_bytes_elements
from skysail.topics.specs import ModelSpec

__all__ = ["AnswerForm", "array_of_outputs", "encode_answer", "form_of"]

_OUTPUT = "output"


class AnswerForm(NamedTuple):
    """What a request wants back.

    Attributes:
        binary: whether outputs are raw bytes, unless asked for by name.
        outputs: names and whether each is raw bytes; None: all outputs.
    """

    binary: bool
    outputs: dict[str, bool] | None


def form_of(request: InferRequest) -> AnswerForm:
    """Read a request's wishes, before anything is computed.

    Raises:
        BadInputError: when a parameter is of the wrong type, or an output is asked for twice.
    """
    binary = bool(parameter(request.parameters, "binary_data_output", bool))
    if not request.outputs:
        return AnswerForm(binary, None)
    outputs: dict[str, bool] = {}
    for output in request.outputs:
        if output.name in outputs:
            message = f"output {output.name!r} is asked for twice"
            raise BadInputError(message)
        own = parameter(output.parameters, "binary_data", bool)
        outputs[output.name] = binary if own is None else own
    return AnswerForm(binary, outputs)


def encode_answer(
    request_id: str | None, form: AnswerForm, model: str, version: str, tensors: Mapping[str, Array]
) -> tuple[bytes, int | None]:
    """The answer's body, and the length of its JSON when binary tensors follow.

    Raises:
        BadInputError: when an output is asked for that the model does not have, or that JSON cannot hold.
    """
    outputs: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for name, binary in _wanted(form, tensors).items():
        array = tensors[name]
        datatype = datatype_of(array)
        output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": array.shape}
        if binary:
            parts.append(_raw(array, datatype))
            output["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            output["data"] = _plain(name, array, datatype)
        outputs.append(output)
    answer: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": outputs}
    if request_id is not None:
        answer["id"] = request_id
    text = msgspec.json.encode(answer)
    return (b"".join((text, *parts)), len(text)) if parts else (text, None)


def _wanted(form: AnswerForm, tensors: Mapping[str, Array]) -> dict[str, bool]:
    if form.outputs is None:
        return dict.fromkeys(tensors, form.binary)
    for name in form.outputs:
        if name not in tensors:
            message = f"output {name!r} is not among the model's: {', '.join(tensors)}"
            raise BadInputError(message)
    return form.outputs


def _raw(array: Array, datatype: str) -> bytes:
    if datatype == "BYTES":
        return pack_bytes_elements(array)
    return np.ascontiguousarray(array, dtype_of(datatype)).tobytes()


def _plain(name: str, array: Array, datatype: str) -> Any:
    flat = array.ravel().tolist()
    if datatype != "BYTES":
        return flat  # NaN and infinities will be written as null: JSON has neither
    try:
        return [element.decode() if isinstance(element, bytes) else str(element) for element in flat]
    except UnicodeDecodeError:
        message = f"output {name!r} holds bytes that are no UTF-8 text: ask for it with the parameter binary_data true"
        raise BadInputError(message) from None


def array_of_outputs(spec: ModelSpec, value: bytes) -> dict[str, Array]:
    """Outputs that the worker could only send as JSON, as tensors: numbers, booleans and text in regular lists as such.

    Anything else becomes a BYTES tensor of JSON texts, one for each row.

    Raises:
        ModelError: when an output is nested too deeply to be written once more.
    """
    outputs: list[Any] = decode_json(value)
    name = spec.outputs[0].name if spec.outputs else _OUTPUT
    try:
        return {name: array_from_json(outputs)}
    except BadInputError:
        return {name: _json_texts(outputs)}


def _json_texts(outputs: list[Any]) -> Array:
    texts: Array = np.empty(len(outputs), dtype=object)
    try:
        texts[:] = [msgspec.json.encode(output) for output in outputs]
    except RecursionError:
        message = "the model's output is nested too deeply"
        raise ModelError(message) from None
    return texts
