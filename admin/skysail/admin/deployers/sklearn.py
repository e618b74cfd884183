"""Deploy a scikit-learn estimator or Pipeline, with pre- and post-processing in a function of your own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Unpack

from skysail.admin.connection import Connection
from skysail.admin.deployers.capture import capture, round_trip
from skysail.admin.deployers.options import DeployOptions, model_spec
from skysail.admin.deployers.package import ship
from skysail.admin.deployers.trial import try_predict
from skysail.topics.errors import ArtifactError
from skysail.topics.specs import InputType, TensorSpec, parse_input_type

__all__ = ["create_endpoint", "deploy_sklearn_model"]

Predict = Callable[[Any, Any], Any]


def deploy_sklearn_model(
    connection: Connection,
    name: str,
    version: str | int,
    model: Any,
    predict_function: Predict | None = None,
    *,
    input_type: str | InputType = InputType.DOUBLES,
    **options: Unpack[DeployOptions],
) -> None:
    """Deploy a fitted estimator; returns when it is ready (and current).

    Args:
        connection: to the admin process.
        name: of the model.
        version: a new one; versions are immutable.
        model: anything with ``predict``; with `predict_function`, anything that can be pickled.
        predict_function: ``predict_function(model, inputs) -> outputs``; ``model.predict`` by default.
        input_type: what one row is.
        options: see `DeployOptions`.

    Raises:
        ArtifactError: when the estimator is not fitted, has no predict, or cannot be pickled.
        DeployError: with the worker's own traceback, when the version does not become ready.
    """
    _check(model, predict_function)
    kind = parse_input_type(input_type)
    spec = model_spec(name, str(version), kind, options, _inputs(model, predict_function, kind))
    pickles = {"model.pkl": capture(model)}
    if predict_function is not None:
        pickles["func.pkl"] = capture(predict_function)
    if spec.sample is not None:
        loaded = round_trip(pickles["model.pkl"])
        trial = loaded.predict if predict_function is None else partial(round_trip(pickles["func.pkl"]), loaded)
        try_predict(trial, spec.sample, kind)
    ship(connection, spec, "sklearn", pickles, options)


def _check(model: Any, predict_function: Predict | None) -> None:
    if predict_function is not None:
        return
    if not callable(getattr(model, "predict", None)):
        message = f"a {type(model).__name__} has no predict: give predict_function, or another estimator"
        raise ArtifactError(message)
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(model)
    except NotFittedError as error:
        raise ArtifactError(str(error)) from error
    except TypeError:  # not an estimator of scikit-learn's own; its predict is all that counts
        return


def _inputs(model: Any, predict_function: Predict | None, kind: InputType) -> tuple[TensorSpec, ...]:
    """The shape of rows, where the estimator takes them as they come."""
    features = getattr(model, "n_features_in_", None)
    if predict_function is not None or features is None or not kind.is_numeric:
        return ()
    return (TensorSpec("input", kind.datatype or "", (-1, int(features))),)


def create_endpoint(  # noqa: PLR0917 - Clipper's signature
    connection: Connection,
    name: str,
    input_type: str | InputType,
    model: Any,
    predict_function: Predict | None = None,
    default_output: Any = None,
    version: str | int = 1,
    slo_micros: int = 3_000_000,
    **options: Unpack[DeployOptions],
) -> None:
    """Register an application, deploy an estimator and link the two, all under one name."""
    connection.register_application(name, input_type, default_output, slo_micros)
    try:
        deploy_sklearn_model(connection, name, version, model, predict_function, input_type=input_type, **options)
        connection.link_model_to_app(name, name)
    except BaseException:  # the function's own errors on the sample among them
        connection.delete_application(name)  # nothing is left half done
        raise
