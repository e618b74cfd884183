"""What every deployer can be told about a version, beside the model itself."""

from __future__ import annotations

from typing import Any, TypedDict

from skysail.topics.errors import BadInputError
from skysail.topics.payloads import to_jsonable
from skysail.topics.specs import DEFAULT_PARTITIONS, BatchSpec, InputType, ModelSpec, TensorSpec

__all__ = ["DeployOptions", "model_spec"]


class DeployOptions(TypedDict, total=False):
    """Keyword arguments of all deployers.

    labels: free text.
    num_replicas: workers (1).
    batch_size: -1: adaptive (AIMD, the default); more: that fixed size.
    batch_policy: ``aimd``, ``quantile`` or ``fixed``.
    max_batch_rows: no batch is ever larger (1024).
    batch_wait_ms: delayed batching (0: off).
    objective_ms: latency objective of one batch's predict (20).
    predict_timeout_s: a predict that runs longer ends the worker (0: no limit).
    partitions: of the model's topics; the most workers that can share the work (8).
    sample: rows to warm up with, and to try before uploading.
    promote: make the version current once it is ready (True).
    timeout_s: how long it may take to become ready.
    """

    labels: list[str]
    num_replicas: int
    batch_size: int
    batch_policy: str
    max_batch_rows: int
    batch_wait_ms: float
    objective_ms: float
    predict_timeout_s: float
    partitions: int
    sample: Any
    promote: bool
    timeout_s: float | None


def _batch(options: DeployOptions) -> BatchSpec:
    size = options.get("batch_size", -1)
    if size != -1 and size < 1:
        message = f"batch_size is {size}: expected -1 (adaptive) or more than 0"
        raise BadInputError(message)
    policy: Any = options.get("batch_policy", "aimd" if size == -1 else "fixed")
    wait_ms = options.get("batch_wait_ms", 0.0)
    if size == -1:
        return BatchSpec(policy=policy, max_rows=options.get("max_batch_rows", 1024), wait_ms=wait_ms)
    return BatchSpec(policy=policy, size=size, max_rows=size, wait_ms=wait_ms)


def _sample(rows: Any) -> list[Any] | None:
    """A sample as JSON rows, from rows or from an array whose first dimension is the rows."""
    if rows is None:
        return None
    try:
        plain = to_jsonable(rows)
    except TypeError as error:
        message = f"the sample cannot be sent: {error}"
        raise BadInputError(message) from error
    if not isinstance(plain, list) or not plain:
        message = f"a sample is a list of rows, at least one; got {type(rows).__name__}"
        raise BadInputError(message)
    return plain


def model_spec(
    name: str, version: str, input_type: InputType, options: DeployOptions, inputs: tuple[TensorSpec, ...] = ()
) -> ModelSpec:
    """The specification of a version. Raises BadInputError, InvalidNameError."""
    return ModelSpec(
        name=name,
        version=version,
        input_type=input_type,
        inputs=inputs,
        batch=_batch(options),
        objective_ms=options.get("objective_ms", 20.0),
        predict_timeout_s=options.get("predict_timeout_s", 0.0),
        partitions=options.get("partitions", DEFAULT_PARTITIONS),
        replicas=options.get("num_replicas", 1),
        labels=tuple(options.get("labels") or ()),
        sample=_sample(options.get("sample")),
    )
