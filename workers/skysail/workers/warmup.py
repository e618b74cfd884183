"""The first predicts of a model, before anybody waits for one."""

from __future__ import annotations

from typing import Any

import numpy as np
import structlog

from skysail.topics.payloads import JSON, TENSOR, Array, dtype_of, encode_json, encode_tensors
from skysail.topics.records import ConsumedRecord, Query
from skysail.topics.specs import InputType, ModelSpec, TensorSpec
from skysail.workers.inputs import InputReader, reader_for
from skysail.workers.outputs import outputs_of
from skysail.workers.runtimes import Model
from skysail.workers.work import Work

__all__ = ["warm_up"]

_log = structlog.get_logger(__name__)

_CALLS = 3


def warm_up(model: Model, spec: ModelSpec) -> None:
    """Call predict a few times, on the version's sample or else on a row of zeros where shapes are declared.

    Raises:
        Exception: what predict raises on the sample; a made-up row may be one that the model rightly refuses.
    """
    sample = _sample_query(spec)
    made_up = None if sample is not None else _made_up_query(spec)
    query = sample or made_up
    if query is None:
        _log.info("warm_up_skipped", reason="no sample, and no shapes to make one up from")
        return
    try:
        _call(model, spec, query)
    except Exception as error:
        if sample is not None:
            raise
        _log.warning("warm_up_failed", error=f"{type(error).__name__}: {error}", input="a row of zeros")


def _call(model: Model, spec: ModelSpec, query: Query) -> None:
    reader: InputReader = reader_for(spec)
    for _ in range(_CALLS):
        work = Work(query, ConsumedRecord("", 0, 0, query.payload))
        reader.read(work)
        outputs = outputs_of(model.predict(reader.join([work])), work.rows, spec.outputs)
        outputs.json(0, work.rows)


def _sample_query(spec: ModelSpec) -> Query | None:
    sample: Any = spec.sample
    if not sample:
        return None
    rows = sample if isinstance(sample, list) else [sample]
    return Query("warm-up", encode_json(rows), JSON, len(rows))


def _made_up_query(spec: ModelSpec) -> Query | None:
    if not spec.inputs or not (spec.input_type.is_numeric or spec.input_type is InputType.TENSORS):
        return None
    return Query("warm-up", encode_tensors({tensor.name: _zeros(tensor) for tensor in spec.inputs}), TENSOR, 1)


def _zeros(tensor: TensorSpec) -> Array:
    dtype = dtype_of(tensor.datatype)
    shape = (1, *(size if size > 0 else 1 for size in tensor.shape[1:]))
    return np.full(shape, b"", dtype) if dtype.kind == "O" else np.zeros(shape, dtype)
