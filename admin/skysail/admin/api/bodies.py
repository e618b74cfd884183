"""Request bodies that are specifications: read with msgspec, documented in OpenAPI."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from fastapi import Request
from fastapi.responses import Response

from skysail.topics.errors import BadInputError, DecodeError, PayloadTooLargeError
from skysail.topics.specs import decode_spec

__all__ = ["answer_json", "body_of", "documented", "read_spec"]

T = TypeVar("T", bound=msgspec.Struct)
#: Specifications hold warm-up samples, which may be images.
_LARGEST_BYTES = 64 * 1024 * 1024


async def body_of(request: Request) -> bytes:
    """The body. Raises PayloadTooLargeError."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BYTES:
            message = f"the body is larger than {_LARGEST_BYTES} bytes"
            raise PayloadTooLargeError(message)
    return bytes(body)


async def read_spec(kind: type[T], request: Request) -> T:
    """The body as a specification. Raises BadInputError naming the field that is wrong; PayloadTooLargeError."""
    try:
        return decode_spec(kind, await body_of(request))
    except (DecodeError, RecursionError) as error:
        raise BadInputError(str(error)) from None


def documented(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """For `openapi_extra`: the body's schema, with what it refers to inside of it."""
    (schema,), components = msgspec.json.schema_components([kind], ref_template="#/{name}")
    inlined = _inline(schema, components)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": inlined}}}}


def _inline(schema: Any, components: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inline(one, components) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline(components[schema["$ref"].removeprefix("#/")], components)
    return {key: _inline(value, components) for key, value in schema.items()}


def answer_json(value: Any, status: int = 200) -> Response:
    """Anything that msgspec encodes."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")
