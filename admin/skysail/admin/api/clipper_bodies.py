"""Bodies of Clipper's management API, and the texts by which it refuses those that are not."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from skysail.topics.errors import BadInputError

__all__ = [
    "AddApp",
    "AddModel",
    "AppName",
    "Container",
    "Links",
    "ModelVersion",
    "Name",
    "SelectionState",
    "Verbose",
    "decode",
    "schema_of",
]

T = TypeVar("T", bound=msgspec.Struct)


class AddApp(msgspec.Struct):
    """Body of `add_app`."""

    name: str
    input_type: str
    default_output: str
    latency_slo_micros: int


class Name(msgspec.Struct):
    """Body of `delete_app` and `get_application`."""

    name: str


class Links(msgspec.Struct):
    """Body of `add_model_links` and `delete_model_links`."""

    app_name: str
    model_names: list[str]


class AddModel(msgspec.Struct):
    """Body of `add_model`."""

    model_name: str
    model_version: str
    labels: list[str]
    input_type: str
    container_name: str
    model_data_path: str
    batch_size: int


class ModelVersion(msgspec.Struct):
    """Body of `set_model_version`, `get_model` and `delete_versioned_model`."""

    model_name: str
    model_version: str


class Verbose(msgspec.Struct):
    """Body of `get_all_applications`, `get_all_models` and `get_all_containers`."""

    verbose: bool


class AppName(msgspec.Struct):
    """Body of `get_linked_models`."""

    app_name: str


class Container(msgspec.Struct):
    """Body of `get_container`."""

    model_name: str
    model_version: str
    replica_id: int


class SelectionState(msgspec.Struct):
    """Body of `get_state`."""

    app_name: str
    uid: int


_TYPES = {str: "string", int: "int", bool: "bool", list[str]: "[string]"}


def schema_of(kind: type[msgspec.Struct]) -> str:
    """The body's schema in Clipper's notation, such as ``{"name" := string, "verbose" := bool}``."""
    fields = (f'"{field.name}" := {_TYPES[field.type]}' for field in msgspec.structs.fields(kind))
    return "{" + ", ".join(fields) + "}"


def decode(kind: type[T], body: bytes) -> T:
    """Read a body. Raises BadInputError with what is wrong and the schema that is expected."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"Error parsing JSON: {error}. Expected JSON schema: {schema_of(kind)}"
        raise BadInputError(message) from None
