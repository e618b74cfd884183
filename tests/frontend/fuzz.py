"""What a careless or hostile client may send, for hypothesis; and what every answer must be like."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

__all__ = ["bodies", "header_lengths", "infer_bodies", "must_be_an_honest_answer", "predict_bodies"]

numbers = (
    st.integers() | st.floats() | st.integers(-(2**33), 2**33) | st.sampled_from([0, 1, -1, 2**31, 1e308, 10**400])
)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
vectors = st.lists(numbers, max_size=6)
named = st.dictionaries(st.sampled_from(["x", "y"]), vectors | values, max_size=2)
rows = vectors | st.text(max_size=8) | values | named

versions = st.none() | st.sampled_from(["1", "2", 1, 1.0, "", "../1"]) | values
predict_bodies = st.fixed_dictionaries(
    {}, optional={"input": rows, "input_batch": st.lists(rows, max_size=5) | values, "version": versions, "uid": values}
)

datatypes = st.sampled_from(
    ["BOOL", "INT8", "UINT8", "INT32", "INT64", "UINT64", "FP16", "FP32", "FP64", "BYTES", "BF16", ""]
)
shapes = st.lists(st.integers(0, 4) | st.integers(), max_size=4) | st.just([1] * 40) | values
parameters = st.none() | st.dictionaries(
    st.sampled_from(["binary_data_size", "binary_data", "binary_data_output", "timeout", "priority"]),
    st.integers(0, 40) | st.booleans() | scalars,
    max_size=3,
)
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "y", "input"]) | st.text(max_size=3),
        "shape": shapes,
        "datatype": datatypes | values,
    },
    optional={"data": vectors | st.lists(st.text(max_size=4), max_size=5) | values, "parameters": parameters},
)
infer_bodies = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=3) | values},
    optional={
        "id": st.text(max_size=5) | values,
        "parameters": parameters,
        "outputs": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from(["output", "x"]) | st.text(max_size=3)}, optional={"parameters": parameters}
            ),
            max_size=2,
        ),
    },
)


def bodies(structured: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """A body as it should be in form, one with a part cut out or put in, or any bytes at all."""
    written = structured.map(lambda value: json.dumps(value).encode())  # with NaN and Infinity, as Python's json does
    cut = st.tuples(written, st.integers(0, 200), st.integers(0, 9), st.binary(max_size=4)).map(
        lambda parts: parts[0][: parts[1]] + parts[3] + parts[0][parts[1] + parts[2] :]
    )
    return written | cut | st.binary(max_size=60)


header_lengths = st.none() | st.integers(0, 400).map(str) | st.sampled_from(["-1", "x", "", "99999999999999999999999"])


def must_be_an_honest_answer(status: int, content: bytes, *, fields: set[str]) -> None:
    """A prediction, or a refusal in JSON with just these fields that is the client's fault."""
    if status == 200:
        return
    assert 400 <= status < 500, (status, content)
    body = json.loads(content)
    assert fields <= body.keys(), body
    assert all(isinstance(body[field], str) and body[field] for field in fields)
    assert "Traceback" not in body[min(fields)]
