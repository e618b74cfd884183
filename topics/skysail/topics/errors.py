"""Every error that Skysail raises on purpose, and the HTTP status that each becomes.

A query flows *bytes → record → rows → outputs → reply*. Each arrow has its error::

    bytes ──DecodeError──> record ──BadInputError──> rows ──ModelError──> outputs
    record ──ExpiredError──> (dropped before predict)
    query ──RejectedError / UnavailableError──> (never became a record)

The text of an error that carries an HTTP status is shown to callers, so it never holds a traceback.
"""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "BadInputError",
    "ConflictError",
    "DecodeError",
    "DeployError",
    "ExpiredError",
    "InvalidNameError",
    "ManagerError",
    "ModelError",
    "NoModelError",
    "NotFoundError",
    "OutputLengthError",
    "PayloadTooLargeError",
    "RejectedError",
    "SignatureError",
    "SkysailError",
    "UnavailableError",
]


class SkysailError(Exception):
    """Root of all errors that Skysail raises on purpose."""

    status: int = 500


class DecodeError(SkysailError, ValueError):
    """Raised when bytes from the wire are not the record, payload or reply that they should be.

    Attributes:
        data: the bytes as they came, so that a dead letter can keep them.
    """

    status = 400

    def __init__(self, message: str, data: bytes = b"") -> None:
        super().__init__(message)
        self.data = data


class BadInputError(SkysailError, ValueError):
    """Raised when a query can be read but its input is not what the model or application takes."""

    status = 400


class PayloadTooLargeError(SkysailError, ValueError):
    """Raised when a body or record is larger than the configured limit."""

    status = 413


class InvalidNameError(SkysailError, ValueError):
    """Raised when a name of an application, model, version or namespace breaks the naming rule."""

    status = 400


class NotFoundError(SkysailError, LookupError):
    """Raised when an application, model, version, worker or artifact does not exist."""

    status = 404


class NoModelError(NotFoundError):
    """Raised when a query has no model to go to: nothing linked, or no current version."""


class ConflictError(SkysailError, ValueError):
    """Raised when a registry operation contradicts what is registered already."""

    status = 409


class ModelError(SkysailError):
    """Raised when the model's own code failed on a query."""

    status = 500


class OutputLengthError(ModelError):
    """Raised when a predict function returns another number of outputs than it was given rows."""

    def __init__(self, expected: int, got: int) -> None:
        super().__init__(
            f"predict was given {expected} rows and returned {got} outputs; it must return one for each row"
        )
        self.expected = expected
        self.got = got


class ExpiredError(SkysailError, TimeoutError):
    """Raised when no outcome came before the query's deadline."""

    status = 504


class RejectedError(SkysailError):
    """Raised when a query is refused because too many are in flight.

    Attributes:
        retry_after_s: seconds after which a retry makes sense.
    """

    status = 429

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnavailableError(RejectedError):
    """Raised when the broker or the store cannot be reached."""

    status = 503


class ArtifactError(SkysailError, ValueError):
    """Raised when an artifact is missing, incomplete, altered or not loadable here."""

    status = 400


class SignatureError(ArtifactError):
    """Raised when an artifact's signature is absent or wrong while a signing key is set."""


class ManagerError(SkysailError):
    """Raised when a manager cannot start, stop or scale workers."""


class DeployError(SkysailError):
    """Raised when a deployed version did not become ready.

    Attributes:
        worker_traceback: the traceback that the worker printed, where it got so far.
    """

    status = 400

    def __init__(self, message: str, worker_traceback: str | None = None) -> None:
        super().__init__(message if worker_traceback is None else f"{message}\n\n{worker_traceback}")
        self.worker_traceback = worker_traceback
