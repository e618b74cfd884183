from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skysail.topics.errors import BadInputError, DecodeError, InvalidNameError, SkysailError
from skysail.topics.specs import (
    ApplicationSpec,
    BatchSpec,
    InputType,
    Link,
    ModelSpec,
    TensorSpec,
    WorkerHeartbeat,
    WorkerState,
    decode_spec,
    encode_spec,
    parse_input_type,
)

SPECS: list[msgspec.Struct] = [
    ModelSpec(name="m", version="1"),
    ModelSpec(
        name="digits",
        version="v2",
        input_type=InputType.TENSORS,
        framework="sklearn",
        artifact_digest="ab" * 32,
        inputs=(TensorSpec("x", "FP32", (-1, 64)),),
        outputs=(TensorSpec("y", "BYTES", (-1,)),),
        batch=BatchSpec(policy="fixed", size=8, wait_ms=1.5),
        objective_ms=7.5,
        predict_timeout_s=30.0,
        partitions=3,
        replicas=0,
        labels=("a", "ü"),
        sample=[[0.0, None, {"k": ["v"]}]],
        created_ms=1_700_000_000_000,
    ),
    ApplicationSpec(name="shop"),
    ApplicationSpec(name="shop", default_output=None, has_default=True, cache_ttl_s=0),
    ApplicationSpec(name="shop", input_type=InputType.JSON, default_output={"a": [1.5, None]}, has_default=True),
    Link(app="shop", models=("a", "b"), policy="exp3"),
    WorkerHeartbeat(worker_id="w", model="m", version="1", state=WorkerState.LOADING),
    WorkerHeartbeat(
        worker_id="w",
        model="m",
        version="1",
        state=WorkerState.FAILED,
        partitions=(0, 3),
        outcomes={"ok": 7},
        error="Traceback …",
        sent_ms=1,
    ),
]


@pytest.mark.parametrize("spec", SPECS)
def test_a_spec_comes_back_as_it_was(spec: msgspec.Struct) -> None:
    assert decode_spec(type(spec), encode_spec(spec)) == spec


def test_a_spec_of_a_newer_release_with_more_fields_is_still_read() -> None:
    data = b'{"name":"shop","a_new_field":1}'
    assert decode_spec(ApplicationSpec, data) == ApplicationSpec(name="shop")


@pytest.mark.parametrize(
    ("kind", "data", "told"),
    [
        (ModelSpec, b"", "not a valid ModelSpec"),
        (ModelSpec, b"[]", "Expected `object`, got `array`"),
        (ModelSpec, b'{"name":"m"}', "missing required field `version`"),
        (ModelSpec, b'{"name":"m","version":1}', r"Expected `str`, got `int` - at `\$.version`"),
        (ModelSpec, b'{"name":"m","version":"1","batch":{"policy":"magic"}}', r"'magic' - at `\$.batch.policy`"),
        (ApplicationSpec, b'{"name":"a","input_type":"words"}', "'words'"),
        (ApplicationSpec, b'{"name":"\xff"}', "not a valid ApplicationSpec"),
        (WorkerHeartbeat, b'{"worker_id":"w","model":"m","version":"1","state":"asleep"}', "'asleep'"),
        # A rule that is broken is a decode error as well: these bytes are no specification.
        (ModelSpec, b'{"name":"No","version":"1"}', "model name 'No' is not valid"),
        (ModelSpec, b'{"name":"m","version":"1","partitions":0}', "partitions is 0"),
    ],
)
def test_what_is_no_spec_is_a_decode_error_that_names_the_field(kind: Any, data: bytes, told: str) -> None:
    with pytest.raises(DecodeError, match=told) as caught:
        decode_spec(kind, data)
    assert caught.value.data == data


@given(st.sampled_from([ModelSpec, ApplicationSpec, Link, WorkerHeartbeat]), st.binary(max_size=60))
def test_any_bytes_are_a_spec_or_a_decode_error(kind: Any, data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_spec(kind, data)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"name": "A"}, "model name 'A'"),
        ({"version": "1.0"}, "model version '1.0'"),
        ({"partitions": 0}, "partitions is 0: expected more than 0"),
        ({"objective_ms": -1.0}, "objective_ms is -1.0: expected more than 0"),
        ({"replicas": -1}, "replicas is -1: expected 0 or more"),
    ],
)
def test_a_model_spec_that_breaks_a_rule_cannot_be_made(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(SkysailError, match=told):
        ModelSpec(**{"name": "m", "version": "1", **wrong})


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"latency_slo_micros": 0}, "latency_slo_micros is 0"),
        ({"cache_ttl_s": -1}, "cache_ttl_s is -1"),
    ],
)
def test_an_application_spec_that_breaks_a_rule_cannot_be_made(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        ApplicationSpec(name="a", **wrong)
    with pytest.raises(InvalidNameError):
        ApplicationSpec(name="a b")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"max_rows": 0}, "max_rows is 0"),
        ({"policy": "fixed"}, "a fixed batch size of 1 or more"),
        ({"policy": "fixed", "size": 0}, "a fixed batch size of 1 or more"),
        ({"wait_ms": -0.1}, "wait_ms is -0.1"),
    ],
)
def test_a_batch_spec_that_breaks_a_rule_cannot_be_made(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        BatchSpec(**wrong)


def test_a_tensor_spec_has_a_datatype_that_exists() -> None:
    with pytest.raises(BadInputError, match="unknown datatype 'float32'"):
        TensorSpec("x", "float32", (1,))


@pytest.mark.parametrize(
    ("aliases", "kind"),
    [
        ("bytes byte b Bytes", InputType.BYTES),
        ("integers ints integer int i INTS", InputType.INTEGERS),
        ("floats float f", InputType.FLOATS),
        ("doubles double d Doubles", InputType.DOUBLES),
        ("strings string str strs s", InputType.STRINGS),
        ("json any", InputType.JSON),
        ("tensors tensor", InputType.TENSORS),
    ],
)
def test_clippers_aliases_name_input_types(aliases: str, kind: InputType) -> None:
    assert {parse_input_type(alias) for alias in aliases.split()} == {kind}


def test_an_unknown_input_type_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadInputError, match="'words': expected one of bytes, integers, floats, doubles"):
        parse_input_type("words")


def test_numeric_input_types_have_a_datatype() -> None:
    numeric = [kind for kind in InputType if kind.is_numeric]
    assert numeric == [InputType.INTEGERS, InputType.FLOATS, InputType.DOUBLES]
    assert [kind.datatype for kind in InputType] == ["BYTES", "INT32", "FP32", "FP64", "BYTES", None, None]


def test_a_model_is_registered_under_name_and_version() -> None:
    assert ModelSpec(name="m", version="2").key == "m/2"
