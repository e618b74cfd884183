"""Deploy any Python function, with its closure, its globals and the user's own modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from skysail.admin.connection import Connection
from skysail.admin.deployers.capture import capture, round_trip
from skysail.admin.deployers.options import DeployOptions, model_spec
from skysail.admin.deployers.package import ship
from skysail.admin.deployers.trial import try_predict
from skysail.topics.errors import ArtifactError
from skysail.topics.specs import InputType, parse_input_type

__all__ = ["create_endpoint", "deploy_python_closure"]


def deploy_python_closure(
    connection: Connection,
    name: str,
    version: str | int,
    func: Callable[[Any], Any],
    *,
    input_type: str | InputType = InputType.DOUBLES,
    **options: Unpack[DeployOptions],
) -> None:
    """Deploy ``func(inputs) -> outputs``, plain or `async def`; returns when it is ready (and current).

    Args:
        connection: to the admin process.
        name: of the model.
        version: a new one; versions are immutable.
        func: gets a batch (see docs/deploying.md for its form by input type) and returns one output for each row.
        input_type: what one row is.
        options: see `DeployOptions`.

    Raises:
        ArtifactError: when the function cannot be pickled, naming what is to blame.
        DeployError: with the worker's own traceback, when the version does not become ready.
    """
    if not callable(func):
        message = f"{func!r} is a {type(func).__name__}: expected a function of one batch"
        raise ArtifactError(message)
    kind = parse_input_type(input_type)
    spec = model_spec(name, str(version), kind, options)
    captured = capture(func)
    if spec.sample is not None:
        try_predict(round_trip(captured), spec.sample, kind)
    ship(connection, spec, "python-closure", {"func.pkl": captured}, options)


def create_endpoint(  # noqa: PLR0917 - Clipper's signature
    connection: Connection,
    name: str,
    input_type: str | InputType,
    func: Callable[[Any], Any],
    default_output: Any = None,
    version: str | int = 1,
    slo_micros: int = 3_000_000,
    **options: Unpack[DeployOptions],
) -> None:
    """Register an application, deploy a function and link the two, all under one name, as Clipper's does."""
    connection.register_application(name, input_type, default_output, slo_micros)
    try:
        deploy_python_closure(connection, name, version, func, input_type=input_type, **options)
        connection.link_model_to_app(name, name)
    except BaseException:  # the function's own errors on the sample among them
        connection.delete_application(name)  # nothing is left half done
        raise
