"""What is registered: models, applications, links; and what workers say of themselves. Frozen, JSON on the wire."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, TypeVar

import msgspec

from skysail.topics.errors import BadInputError, DecodeError
from skysail.topics.names import check_name
from skysail.topics.payloads import dtype_of

__all__ = [
    "ApplicationSpec",
    "BatchSpec",
    "InputType",
    "Link",
    "ModelSpec",
    "TensorSpec",
    "WorkerHeartbeat",
    "WorkerState",
    "decode_spec",
    "encode_spec",
    "parse_input_type",
]

T = TypeVar("T", bound=msgspec.Struct)

DEFAULT_PARTITIONS = 8
DEFAULT_SLO_MICROS = 3_000_000  # create_endpoint's default in Clipper


class InputType(StrEnum):
    """What one row is. The first five are Clipper's."""

    BYTES = "bytes"
    INTEGERS = "integers"
    FLOATS = "floats"
    DOUBLES = "doubles"
    STRINGS = "strings"
    JSON = "json"
    TENSORS = "tensors"

    @property
    def datatype(self) -> str | None:
        """OIP datatype of a row's elements; None for `json` and `tensors`, whose rows are of any type."""
        return _DATATYPES.get(self)

    @property
    def is_numeric(self) -> bool:
        """Whether a row is a flat vector of numbers."""
        return self in _NUMERIC


_DATATYPES: dict[InputType, str] = {
    InputType.BYTES: "BYTES",
    InputType.INTEGERS: "INT32",
    InputType.FLOATS: "FP32",
    InputType.DOUBLES: "FP64",
    InputType.STRINGS: "BYTES",
}
_NUMERIC = frozenset({InputType.INTEGERS, InputType.FLOATS, InputType.DOUBLES})

#: Clipper's aliases (`datatypes.cpp`), and our own.
_ALIASES: dict[str, InputType] = {
    alias: kind
    for kind, aliases in {
        InputType.BYTES: ("bytes", "byte", "b"),
        InputType.INTEGERS: ("integers", "ints", "integer", "int", "i"),
        InputType.FLOATS: ("floats", "float", "f"),
        InputType.DOUBLES: ("doubles", "double", "d"),
        InputType.STRINGS: ("strings", "string", "str", "strs", "s"),
        InputType.JSON: ("json", "any"),
        InputType.TENSORS: ("tensors", "tensor"),
    }.items()
    for alias in aliases
}


def parse_input_type(text: str) -> InputType:
    """The input type that a name or one of Clipper's aliases means.

    Raises:
        BadInputError: naming what is accepted.
    """
    kind = _ALIASES.get(text.lower())
    if kind is None:
        message = f"unknown input type {text!r}: expected one of {', '.join(InputType)}"
        raise BadInputError(message)
    return kind


class TensorSpec(msgspec.Struct, frozen=True):
    """Name, OIP datatype and shape of a model's input or output; -1 is any size, ``shape[0]`` is the row count."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        dtype_of(self.datatype)


class BatchSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a version's batches are sized.

    Attributes:
        policy: ``aimd``, ``quantile`` or ``fixed``.
        max_rows: no batch is ever larger (>= 1).
        size: rows, for ``fixed``.
        wait_ms: delayed batching: how long a batch that is not full may wait, from its first query (0: never).
    """

    policy: Literal["aimd", "quantile", "fixed"] = "aimd"
    max_rows: int = 1024
    size: int | None = None
    wait_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.max_rows < 1:
            message = f"batch.max_rows is {self.max_rows}: expected 1 or more"
            raise BadInputError(message)
        if self.policy == "fixed" and (self.size is None or self.size < 1):
            message = "batch.size: a fixed batch size of 1 or more is needed with policy 'fixed'"
            raise BadInputError(message)
        if self.wait_ms < 0:
            message = f"batch.wait_ms is {self.wait_ms}: expected 0 or more"
            raise BadInputError(message)

    @property
    def largest(self) -> int:
        """Rows that predict is given at most, whatever is learned."""
        return min(self.size or self.max_rows, self.max_rows) if self.policy == "fixed" else self.max_rows


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model. Immutable once registered.

    Attributes:
        name, version: DNS-1123 labels.
        input_type: what one row is.
        framework: loader of the artifact (``python-closure``, ``sklearn``, …); empty: no artifact, workers of your own.
        artifact_digest: sha-256 over the artifact's manifest, in hex.
        inputs, outputs: known tensors, for metadata and for checking rows before the broker; empty: unknown.
        batch: how batches are sized.
        objective_ms: the latency objective of one batch's predict, which sizes batches.
        predict_timeout_s: a predict that runs longer counts as a crash of the worker (0: no limit).
        partitions: of the model's topics; the most replicas that can share the work.
        replicas: workers that the manager keeps running.
        labels: free text for people, as in Clipper.
        image, model_data_path: Clipper's fields, kept for its API.
        sample: rows for the warm-up, as the input type's JSON.
        created_ms: unix ms of the registration.
    """

    name: str
    version: str
    input_type: InputType = InputType.DOUBLES
    framework: str = ""
    artifact_digest: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    batch: BatchSpec = BatchSpec()
    objective_ms: float = 20.0
    predict_timeout_s: float = 0.0
    partitions: int = DEFAULT_PARTITIONS
    replicas: int = 1
    labels: tuple[str, ...] = ()
    image: str = ""
    model_data_path: str = ""
    sample: Any = None
    created_ms: int = 0

    def __post_init__(self) -> None:
        check_name("model name", self.name)
        check_name("model version", self.version)
        for what, value in (("partitions", self.partitions), ("objective_ms", self.objective_ms)):
            if value <= 0:
                message = f"{what} is {value}: expected more than 0"
                raise BadInputError(message)
        if self.replicas < 0:
            message = f"replicas is {self.replicas}: expected 0 or more"
            raise BadInputError(message)

    @property
    def key(self) -> str:
        """``name/version``, the field in the registry's hash."""
        return f"{self.name}/{self.version}"


class ApplicationSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The contract of one application.

    Attributes:
        name: the first part of its URL.
        input_type: what one row is.
        default_output: JSON value answered when there is no prediction; `has_default` tells null from none.
        has_default: whether `default_output` is in force.
        latency_slo_micros: from the arrival of a request to its answer; the query's deadline.
        cache_ttl_s: seconds that answers may come from the cache (0: never).
    """

    name: str
    input_type: InputType = InputType.DOUBLES
    default_output: Any = None
    has_default: bool = False
    latency_slo_micros: int = DEFAULT_SLO_MICROS
    cache_ttl_s: int = 60

    def __post_init__(self) -> None:
        check_name("application name", self.name)
        if self.latency_slo_micros <= 0:
            message = f"latency_slo_micros is {self.latency_slo_micros}: expected more than 0"
            raise BadInputError(message)
        if self.cache_ttl_s < 0:
            message = f"cache_ttl_s is {self.cache_ttl_s}: expected 0 or more"
            raise BadInputError(message)


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Joins an application to its models through a selection policy."""

    app: str
    models: tuple[str, ...]
    policy: str = "first"


class WorkerState(StrEnum):
    """Where a worker is in its life."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


class WorkerHeartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says of itself every second or so.

    Attributes:
        worker_id: unique to this process.
        state: ready only when the model is loaded, warm, and partitions are assigned (or all are taken).
        partitions: of the version's own topic, now assigned.
        batch_cap: largest batch in rows that the sizer allows now.
        batch_rows, predict_ms: means since the last heartbeat; 0 when idle.
        queries_per_s: since the last heartbeat.
        outcomes: totals since start, by outcome.
        error: the traceback of a failed load.
        sent_ms: unix ms.
    """

    worker_id: str
    model: str
    version: str
    state: WorkerState
    pid: int = 0
    host: str = ""
    partitions: tuple[int, ...] = ()
    batch_cap: int = 0
    batch_rows: float = 0.0
    predict_ms: float = 0.0
    queries_per_s: float = 0.0
    outcomes: dict[str, int] = {}
    error: str = ""
    sent_ms: int = 0


def encode_spec(spec: msgspec.Struct) -> bytes:
    """A specification as JSON."""
    return msgspec.json.encode(spec)


def decode_spec(kind: type[T], data: bytes) -> T:
    """Read a specification.

    Raises:
        DecodeError: naming the field that is wrong.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"not a valid {kind.__name__}: {error}"
        raise DecodeError(message, data) from None
