from __future__ import annotations

import httpx
import pytest

from skysail.admin.client_errors import error_of
from skysail.topics import errors
from skysail.topics.errors import DeployError, SkysailError, UnavailableError

REQUEST = httpx.Request("GET", "http://admin/api/v1/x")


def answer(status: int, **body: object) -> httpx.Response:
    return httpx.Response(status, json=body, request=REQUEST)


@pytest.mark.parametrize(
    "kind",
    [
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
    ],
)
def test_a_refusal_is_the_error_that_it_names(kind: type[SkysailError]) -> None:
    error = error_of(answer(kind.status, error=kind.__name__, cause="the cause"))
    assert type(error) is kind
    assert str(error) == "the cause"


def test_a_deployments_failure_has_the_workers_traceback() -> None:
    error = error_of(answer(400, error="DeployError", cause="it failed", worker_traceback="Traceback …"))
    assert isinstance(error, DeployError)
    assert error.worker_traceback == "Traceback …"
    assert str(error) == "it failed\n\nTraceback …"


def test_a_503_of_any_kind_means_away() -> None:
    assert isinstance(error_of(answer(503, error="Other", cause="x")), UnavailableError)
    assert isinstance(error_of(httpx.Response(503, text="<html>", request=REQUEST)), UnavailableError)


@pytest.mark.parametrize("body", [b"<html>busy</html>", b"[]", b'{"error": "x"}', b"null"])
def test_an_answer_that_is_none_of_ours_is_quoted(body: bytes) -> None:
    error = error_of(httpx.Response(502, content=body, request=REQUEST))
    assert type(error) is SkysailError
    assert str(error) == f"GET http://admin/api/v1/x: 502 {body.decode()}"
