"""From an answer of the admin API back to the error that it means."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from skysail.topics import errors
from skysail.topics.errors import DeployError, SkysailError, UnavailableError

__all__ = ["error_of"]

#: Errors that are made of their text alone. What an unknown name means is told by the status.
_BY_NAME: dict[str, Callable[[str], SkysailError]] = {
    kind.__name__: kind
    for kind in (
        errors.ArtifactError,
        errors.BadInputError,
        errors.ConflictError,
        errors.InvalidNameError,
        errors.ManagerError,
        errors.NoModelError,
        errors.NotFoundError,
        errors.PayloadTooLargeError,
        errors.SignatureError,
        errors.UnavailableError,
    )
}


def error_of(answer: httpx.Response) -> SkysailError:
    """The typed error of a refusal; a DeployError has the worker's traceback."""
    try:
        body = answer.json()
        name, cause = str(body["error"]), str(body["cause"])
    except (ValueError, KeyError, TypeError):
        name, cause = "", f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:500]}"
    if name == "DeployError":
        return DeployError(cause, body.get("worker_traceback"))
    kind = _BY_NAME.get(name, UnavailableError if answer.status_code == 503 else SkysailError)
    return kind(cause)
