"""From payloads to the batch that predict is given: each query is read and checked alone, then all are joined."""

from __future__ import annotations

from skysail.topics.specs import InputType, ModelSpec
from skysail.workers.inputs.listed import BytesReader, JsonReader, StringsReader
from skysail.workers.inputs.numeric import NumericReader
from skysail.workers.inputs.reader import InputReader
from skysail.workers.inputs.tensors import TensorsReader

__all__ = ["InputReader", "reader_for"]


def reader_for(spec: ModelSpec) -> InputReader:
    """The reader for a model's input type and the shapes that it declares."""
    kind = spec.input_type
    if kind.is_numeric:
        return NumericReader(kind, spec.inputs)
    if kind is InputType.TENSORS:
        return TensorsReader(spec.inputs)
    if kind is InputType.BYTES:
        return BytesReader()
    return StringsReader() if kind is InputType.STRINGS else JsonReader()
