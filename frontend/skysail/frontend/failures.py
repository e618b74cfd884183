"""Failures in Clipper's words: titles, explanations of default outputs, and what a default output may stand in for."""

from __future__ import annotations

from skysail.frontend.http import Headers
from skysail.topics.errors import BadInputError, NotFoundError, RejectedError, SkysailError
from skysail.topics.records import Outcome

__all__ = ["FAILED", "INTERNAL", "default_explanation", "error_title", "is_defaulted", "retry_after"]

#: `error` and `cause` of a fault in the frontend itself.
INTERNAL = ("Internal error", "the frontend failed on this request; its log says why")
#: `error` for each outcome of a query; the first is Clipper's own.
FAILED = {
    Outcome.BAD_INPUT: "Query processing error",
    Outcome.MODEL_ERROR: "Model error",
    Outcome.EXPIRED: "Deadline exceeded",
    Outcome.NO_MODEL: "No model",
    Outcome.REJECTED: "Rejected",
}
_TITLES = {413: "Request too large", 429: "Too many queries in flight", 503: "Service unavailable"}
_DEFAULTED = frozenset({Outcome.MODEL_ERROR, Outcome.EXPIRED, Outcome.NO_MODEL})
#: Clipper's words, which clients may look for; the true reason follows them.
_MISSED_SLO = "Failed to retrieve a prediction response within the specified latency SLO"


def is_defaulted(outcome: Outcome) -> bool:
    """Whether a default output may stand in: not where a caller could mend the input, or try again."""
    return outcome in _DEFAULTED


def default_explanation(outcome: Outcome, cause: str) -> str:
    """`default_explanation`: why there is no prediction."""
    return f"{_MISSED_SLO}: {cause}" if outcome is Outcome.EXPIRED else cause


def error_title(error: SkysailError) -> str:
    """`error` for a request that never became a query."""
    if isinstance(error, BadInputError):
        return "Json error" if str(error).startswith("Error parsing JSON") else FAILED[Outcome.BAD_INPUT]
    if isinstance(error, NotFoundError):
        return "Application not found"
    return _TITLES.get(error.status, "Error")


def retry_after(status: int, error: SkysailError | None = None) -> Headers:
    """The Retry-After header of a 429 or 503; nothing for others."""
    if status not in (429, 503):
        return []
    seconds = error.retry_after_s if isinstance(error, RejectedError) else 1
    return [(b"retry-after", b"%d" % seconds)]
