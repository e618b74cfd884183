"""From an answer of the admin API back to the error that it means."""

from __future__ import annotations

from typing import Any

import httpx

from skysail.topics import errors
from skysail.topics.errors import DeployError, SkysailError, UnavailableError

__all__ = ["error_of"]

_BY_NAME: dict[str, Any] = {name: getattr(errors, name) for name in errors.__all__}


def error_of(answer: httpx.Response) -> SkysailError:
    """The typed error of a refusal."""
    try:
        body = answer.json()
        name, cause = str(body["error"]), str(body["cause"])
    except (ValueError, KeyError, TypeError):
        return SkysailError(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:500]}")
    if name == "DeployError":
        return DeployError(cause, body.get("worker_traceback"))
    kind = _BY_NAME.get(name, UnavailableError if answer.status_code == 503 else SkysailError)
    return kind(cause)  # type: ignore[no-any-return]
