"""Request bodies for one row, in the form that each kind of server asks for. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["BODIES", "output_of"]

Body = Callable[[Any, str], dict[str, Any]]


def _plain(row: Any, _: str) -> dict[str, Any]:
    return {"input": row}


def _listed(row: Any, _: str) -> dict[str, Any]:
    return {"rows": [row]}


def _open_inference(row: Any, datatype: str) -> dict[str, Any]:
    shape, data = ([1, 1], [row]) if isinstance(row, str) else ([1, len(row)], row)
    return {"inputs": [{"name": "input", "shape": shape, "datatype": datatype, "data": data}]}


#: By form: `plain` (Clipper's, and whoever may choose), `listed` (BentoML), `oip` (Open Inference Protocol v2).
BODIES: Mapping[str, Body] = {"plain": _plain, "listed": _listed, "oip": _open_inference}


def output_of(answer: str | bytes) -> Any:
    """The one output in an answer of any of these servers; None where there is none."""
    found = json.loads(answer)
    if isinstance(found, dict):
        outputs = found.get("outputs")
        found = outputs[0]["data"] if outputs else found.get("output")
    while isinstance(found, list) and found:
        found = found[0]
    return found
