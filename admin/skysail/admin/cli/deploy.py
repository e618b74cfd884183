"""`skysail deploy`, `predict`."""

from __future__ import annotations

import importlib
import pickle
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from skysail.admin.addresses import is_this_machine
from skysail.admin.cli.output import Admin, Form, Frontend, Output, connect, frontend_url, tell
from skysail.topics.errors import ArtifactError, BadInputError, UnavailableError
from skysail.topics.names import check_name

if TYPE_CHECKING:
    from skysail.admin.connection import Connection

__all__ = ["add_to"]


class Framework(StrEnum):
    """What a model was made with."""

    PYTHON = "python"
    SKLEARN = "sklearn"


def deploy(  # noqa: PLR0913 - so many options has it
    source: Annotated[str, typer.Argument(help="sklearn: a joblib or pickle file. python: MODULE:FUNCTION.")],
    *,
    framework: Annotated[Framework, typer.Option(help="What the model was made with.")],
    name: Annotated[str, typer.Option(help="Name of the model.")],
    version: Annotated[str, typer.Option(help="A new version; versions are immutable.")],
    input_type: Annotated[str, typer.Option(help="What one row is.")] = "doubles",
    replicas: Annotated[int, typer.Option(min=0, help="Workers.")] = 1,
    batch_size: Annotated[int, typer.Option(help="Rows in a batch; -1: adaptive.")] = -1,
    objective_ms: Annotated[float, typer.Option(help="Latency objective of one batch.")] = 20.0,
    partitions: Annotated[int, typer.Option(min=1, help="Most workers that can share the work.")] = 8,
    sample: Annotated[str | None, typer.Option(help="Rows to warm up with, as JSON.")] = None,
    promote: Annotated[bool, typer.Option(help="Make it current once it is ready.")] = True,
    timeout: Annotated[float | None, typer.Option(help="Seconds that it may take to become ready.")] = None,
    app: Annotated[str | None, typer.Option(help="Also register an application of this name and link it.")] = None,
    admin: Admin = None,
    output: Output = Form.TABLE,
) -> None:
    """Deploy a model and wait until it is ready; prints the worker's own traceback when it does not get there."""
    options: Any = {
        "input_type": input_type,
        "num_replicas": replicas,
        "batch_size": batch_size,
        "objective_ms": objective_ms,
        "partitions": partitions,
        "promote": promote,
        "timeout_s": timeout,
        "sample": _json("--sample", sample) if sample is not None else None,
    }
    with connect(admin) as connection:
        if framework is Framework.SKLEARN:
            from skysail.admin.deployers.sklearn import deploy_sklearn_model

            deploy_sklearn_model(connection, name, version, _load(Path(source)), **options)
        else:
            from skysail.admin.deployers.python import deploy_python_closure

            deploy_python_closure(connection, name, version, _function(source), **options)
        if app is not None:
            _serve_as(connection, app, name, input_type)
    text = f"{name} {version} is ready{' and current' if promote else ''}"
    text += f"; application {app} asks it: POST /{app}/predict" if app is not None else ""
    tell(text, output, name=name, version=version, current=promote, app=app)


def _serve_as(connection: Connection, app: str, model: str, input_type: str) -> None:
    """Register and link an application, unless it is there and linked to the model already."""
    if app not in connection.get_all_apps():
        connection.register_application(app, input_type)
    if model not in connection.get_linked_models(app):
        connection.link_model_to_app(app, model)


def _load(path: Path) -> Any:
    if not path.is_file():
        message = f"{path} is not a file"
        raise ArtifactError(message)
    try:
        import joblib

        return joblib.load(path)
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, ValueError, KeyError) as error:
        message = f"{path} cannot be loaded: {type(error).__name__}: {error}"
        raise ArtifactError(message) from error


def _function(source: str) -> Any:
    module_name, _, function_name = source.partition(":")
    if not function_name:
        message = f"{source!r}: expected MODULE:FUNCTION"
        raise BadInputError(message)
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        message = f"{source} cannot be imported: {error}"
        raise ArtifactError(message) from error


def _json(name: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        message = f"{name} is not valid JSON: {error}"
        raise BadInputError(message) from None


def predict(
    app: Annotated[str, typer.Argument(help="Name of the application.")],
    rows: Annotated[str, typer.Argument(help="One row as JSON; with --batch, an array of rows. '-': standard input.")],
    *,
    batch: Annotated[bool, typer.Option("--batch", help="ROWS is an array of rows.")] = False,
    version: Annotated[str | None, typer.Option(help="A version; the current one by default.")] = None,
    frontend: Frontend = None,
) -> None:
    """Ask for a prediction and print the answer; exit status 1 when there is none."""
    import httpx

    value = _json("ROWS", sys.stdin.read() if rows == "-" else rows)
    where = frontend_url(frontend).rstrip("/")
    body = {"input_batch" if batch else "input": value, **({"version": version} if version else {})}
    try:
        url = f"{where}/{check_name('application name', app)}/predict"
        answer = httpx.post(url, json=body, timeout=120, trust_env=not is_this_machine(url))
    except httpx.HTTPError as error:
        message = f"the frontend at {where} does not answer: {error}"
        raise UnavailableError(message) from error
    typer.echo(answer.text)
    if not answer.is_success:
        raise typer.Exit(1)


def add_to(app: typer.Typer) -> None:
    """The commands of this module."""
    for command in (deploy, predict):
        app.command()(command)
