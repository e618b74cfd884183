"""The hot routes in the OpenAPI document: they are answered before FastAPI, so FastAPI cannot describe them."""

from __future__ import annotations

from typing import Any

__all__ = ["FEEDBACK_BODY", "with_hot_routes"]

_ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "cause": {"type": "string"}},
    "required": ["error"],
}
_FAILURES = {
    "400": "the body or the input is not what was expected; the text says what was",
    "404": "no such application or model",
    "413": "the body is too large",
    "429": "too many queries in flight; see Retry-After",
    "500": "the model failed on this query",
    "503": "broker or store is away; see Retry-After",
    "504": "no prediction by the deadline",
}
_ENTRY = {
    "type": "object",
    "properties": {
        "query_id": {"type": "string"},
        "output": {},
        "default": {"type": "boolean"},
        "default_explanation": {"type": "string"},
        "error": {"type": "string", "description": "of a failed entry of a batch"},
        "cause": {"type": "string"},
    },
}
_TENSOR = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string"},
        "data": {"type": "array", "items": {}},
        "parameters": {"type": "object"},
    },
    "required": ["name", "shape", "datatype"],
}
_PREDICT = {
    "type": "object",
    "properties": {
        "input": {"description": "one row, as the application's input type says"},
        "input_batch": {"type": "array", "items": {}, "description": "rows; instead of input"},
        "version": {
            "oneOf": [{"type": "string"}, {"type": "integer"}],
            "description": "a version of the model; the current one by default",
        },
    },
}
_PREDICTED = {
    "oneOf": [
        _ENTRY,
        {"type": "object", "properties": {"batch_predictions": {"type": "array", "items": _ENTRY}}},
    ]
}
_INFER = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "inputs": {"type": "array", "items": _TENSOR},
        "outputs": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["inputs"],
}
_INFERRED = {
    "type": "object",
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": _TENSOR},
    },
}

_FEEDBACK = {
    "type": "object",
    "properties": {
        "input": {"description": "what was predicted on, as the application's input type says"},
        "label": {"description": "what was right"},
        "uid": {"oneOf": [{"type": "integer"}, {"type": "string"}], "default": 0},
        "query_id": {"type": "string", "description": "the query that it is about"},
    },
    "required": ["input", "label"],
}
#: What FastAPI cannot see: the body is decoded by the application's input type.
FEEDBACK_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": _FEEDBACK}}}}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _operation(
    tag: str, summary: str, names: list[str], body: dict[str, Any], answer: dict[str, Any]
) -> dict[str, Any]:
    failures = {status: {"description": text, "content": _content(_ERROR)} for status, text in _FAILURES.items()}
    operation = {
        "tags": [tag],
        "summary": summary,
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names],
        "requestBody": {"required": True, "content": _content(body)},
        "responses": {"200": {"description": "the prediction", "content": _content(answer)}, **failures},
    }
    return {"post": operation}


def with_hot_routes(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the predict and infer routes in it."""
    oip = "Open Inference Protocol"
    hot = {
        "/{app_name}/predict": _operation("Clipper", "Predict", ["app_name"], _PREDICT, _PREDICTED),
        "/v2/models/{name}/infer": _operation(oip, "Infer", ["name"], _INFER, _INFERRED),
        "/v2/models/{name}/versions/{version}/infer": _operation(
            oip, "Infer with a version", ["name", "version"], _INFER, _INFERRED
        ),
    }
    return {**document, "paths": {**hot, **document.get("paths", {})}}
