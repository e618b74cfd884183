from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skysail.topics.errors import DecodeError
from skysail.topics.payloads import JSON, TENSOR
from skysail.topics.records import (
    ConsumedRecord,
    Outcome,
    Query,
    Reply,
    ReplyBatch,
    dead_letter_headers,
    decode_query,
    decode_reply_batch,
    encode_query_headers,
    encode_reply_batch,
)

TEXTS = st.text(min_size=1, max_size=40)
REPLY_TOPICS = st.from_regex(r"[a-zA-Z0-9._-]{3,40}", fullmatch=True)

QUERIES = st.builds(
    Query,
    id=TEXTS,
    payload=st.binary(max_size=40),
    content_type=st.sampled_from([JSON, TENSOR]),
    rows=st.integers(1, 2**31 - 1),
    reply_to=st.none() | st.builds("redis:{}".format, TEXTS) | st.builds("kafka:{}".format, REPLY_TOPICS),
    deadline_ms=st.none() | st.integers(0, 2**53),
    accept=st.sampled_from([JSON, TENSOR]),
    cache_ttl_s=st.integers(0, 2**31 - 1),
    traceparent=st.none() | TEXTS,
    correlation_id=st.none() | st.binary(max_size=20),
)


def consumed(value: bytes | None, *headers: tuple[str, bytes | None], key: bytes | None = None) -> ConsumedRecord:
    return ConsumedRecord("skysail.t.models.m.queries", 3, 41, value, key, list(headers) or None, 1_700_000_000_000)


@given(QUERIES)
def test_a_query_comes_back_as_it_was_sent(query: Query) -> None:
    record = consumed(query.payload, *encode_query_headers(query), key=query.id.encode())
    assert decode_query(record) == query


@given(st.binary())
def test_a_bare_value_is_a_query_of_one_row_named_by_its_place(value: bytes) -> None:
    assert decode_query(consumed(value)) == Query("skysail.t.models.m.queries-3-41", value, rows=None)


def test_a_bare_json_query_sent_by_us_stays_bare() -> None:
    query = Query("q", b"[1, 2]", rows=None)
    assert decode_query(consumed(query.payload, *encode_query_headers(query))) == query


def test_headers_that_the_broker_client_could_not_read_are_refused_and_the_value_is_kept() -> None:
    with pytest.raises(DecodeError, match="the name of one is not UTF-8") as caught:
        decode_query(ConsumedRecord("t", 0, 0, b"value", fault="the name of one is not UTF-8"))
    assert caught.value.data == b"value"


def test_a_tombstone_is_refused() -> None:
    with pytest.raises(DecodeError, match="has no value"):
        decode_query(consumed(None, ("skysail-id", b"q")))


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (("skysail-rows", b"0"), "skysail-rows 0: expected 1 "),
        (("skysail-rows", b"-1"), "skysail-rows -1: expected 1 "),
        (("skysail-rows", b"many"), "skysail-rows"),
        (("skysail-rows", b""), "skysail-rows"),
        (("skysail-rows", None), "skysail-rows"),
        (("skysail-rows", b"9" * 5000), "skysail-rows"),
        (("skysail-rows", b"99999999999"), "skysail-rows"),
        (("skysail-deadline", b"tomorrow"), "skysail-deadline"),
        (("skysail-deadline", b"-1"), "skysail-deadline"),
        (("skysail-deadline", b"9" * 400), "skysail-deadline"),
        (("skysail-cache-ttl", b"-5"), "skysail-cache-ttl -5: expected 0 "),
        (("skysail-cache-ttl", b"9" * 30), "skysail-cache-ttl"),
        (("skysail-id", b"\xff"), "utf-8"),
        (("content-type", b"\xff"), "utf-8"),
        (("content-type", b"application/x-pickle"), "content-type 'application/x-pickle': expected application/json"),
        (("skysail-reply-to", b"http://evil"), "expected redis:<client-id> or kafka:<topic>"),
        (("skysail-reply-to", b"redis:"), "expected redis:<client-id> or kafka:<topic>"),
        (("skysail-reply-to", b"kafka:"), "topic"),
        (("skysail-reply-to", b"kafka:a b"), "topic"),
        (("skysail-reply-to", b"kafka:.."), "topic"),
        (("kafka_replyTopic", b"a/b"), "topic"),
        (("kafka_replyTopic", b"\xfe"), "utf-8"),
        (("traceparent", b"\xff"), "utf-8"),
        (("accept", b"\xff"), "utf-8"),
        (("ce_id", b"\xff"), "utf-8"),
    ],
)
def test_a_header_that_cannot_be_read_is_refused_by_name_and_the_value_is_kept(
    header: tuple[str, bytes | None], told: str
) -> None:
    with pytest.raises(DecodeError, match=re.escape(told)) as caught:
        decode_query(consumed(b"the value", header))
    assert caught.value.data == b"the value"


HEADER_NAMES = st.sampled_from(
    [
        "skysail-id",
        "skysail-rows",
        "skysail-deadline",
        "skysail-reply-to",
        "skysail-cache-ttl",
        "content-type",
        "accept",
        "traceparent",
        "correlation-id",
        "kafka_correlationId",
        "kafka_replyTopic",
        "Faust-Ag-ReplyTo",
        "reply-to",
        "ce_id",
        "ce_source",
        "mlserver-model",
    ]
)
HEADER_VALUES = st.none() | st.binary(max_size=20) | st.integers().map(lambda number: str(number).encode())


@given(
    st.none() | st.binary(max_size=20),
    st.none() | st.binary(max_size=20),
    st.none() | st.lists(st.tuples(HEADER_NAMES | st.text(max_size=5), HEADER_VALUES), max_size=6),
)
def test_any_record_is_a_query_or_a_decode_error(
    value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes | None]] | None
) -> None:
    record = ConsumedRecord("t", 0, 0, value, key, headers)
    try:
        query = decode_query(record)
    except DecodeError as error:
        assert error.data == (value or b"")  # noqa: PT017 - both ends of the law
    else:
        assert query.payload == value
        assert query.rows is None or query.rows >= 1
        assert query.cache_ttl_s >= 0


# Records of producers that know nothing of Skysail.


def test_springs_replying_template_is_understood_binary_ids_included() -> None:
    correlation = bytes(range(240, 256))
    query = decode_query(
        consumed(
            b'{"a": 1}',
            ("kafka_replyTopic", b"shop.answers"),
            ("kafka_replyPartition", b"\x00\x00\x00\x02"),
            ("kafka_correlationId", correlation),
            ("__TypeId__", b"com.example.Order"),
        )
    )
    assert (query.reply_to, query.correlation_id, query.rows) == ("kafka:shop.answers", correlation, None)


def test_a_faust_agents_ask_is_understood() -> None:
    query = decode_query(
        consumed(b"[1.0, 2.0]", ("Faust-Ag-ReplyTo", b"f-reply-1"), ("Faust-Ag-CorrelationId", b"7c7d"))
    )
    assert (query.reply_to, query.correlation_id, query.rows) == ("kafka:f-reply-1", b"7c7d", None)


def test_plain_correlation_headers_are_understood_and_come_before_the_others() -> None:
    query = decode_query(
        consumed(
            b"1",
            ("kafka_correlationId", b"spring"),
            ("correlation-id", b"plain"),
            ("kafka_replyTopic", b"spring"),
            ("reply-to", b"plain"),
        )
    )
    assert (query.reply_to, query.correlation_id) == ("kafka:plain", b"plain")


def test_a_cloud_event_in_binary_mode_is_named_by_its_source_and_its_id() -> None:
    query = decode_query(
        consumed(
            b'{"x": 1}',
            ("ce_specversion", b"1.0"),
            ("ce_id", b"A234-1234"),
            ("ce_source", b"/shop"),
            ("ce_type", b"order"),
            ("content-type", b"application/json; charset=UTF-8"),
        )
    )
    assert (query.id, query.content_type) == ("/shop#A234-1234", JSON)
    assert decode_query(consumed(b"1", ("ce_id", b"A234-1234"))).id == "A234-1234"


def test_mlservers_request_id_is_its_key() -> None:
    headers = (("mlserver-model", b"digits"), ("mlserver-version", b"v1"))
    assert decode_query(consumed(b"{}", *headers, key=b"request-1")).id == "request-1"
    assert decode_query(consumed(b"{}", key=b"just a key")).id == "skysail.t.models.m.queries-3-41"


def test_our_own_headers_come_before_foreign_ones() -> None:
    query = decode_query(
        consumed(
            b"1",
            ("ce_id", b"event"),
            ("kafka_replyTopic", b"t"),
            ("skysail-id", b"q"),
            ("skysail-reply-to", b"redis:c"),
        )
    )
    assert (query.id, query.reply_to) == ("q", "redis:c")


def test_headers_that_are_not_ours_may_be_anything() -> None:
    assert decode_query(consumed(b"1", ("trace", b"\xff\xfe"), ("x", None), ("x", b"\x80"))).payload == b"1"


def test_an_accept_header_that_only_names_json_types_means_json() -> None:
    assert decode_query(consumed(b"1", ("accept", b""))).accept == JSON


# Replies.

REPLIES = st.builds(
    Reply, st.text(max_size=40), st.sampled_from(Outcome), st.binary(max_size=40), st.booleans(), st.integers(0, 2**40)
)
BATCHES = st.builds(
    ReplyBatch,
    st.text(max_size=20),
    st.text(max_size=20),
    st.integers(0, 2**31),
    st.integers(0, 2**40),
    st.lists(REPLIES, max_size=5),
)


@given(BATCHES)
def test_a_reply_batch_comes_back_as_it_was(batch: ReplyBatch) -> None:
    assert decode_reply_batch(encode_reply_batch(batch)) == batch


@given(st.binary(max_size=100))
def test_any_bytes_are_a_reply_batch_or_a_decode_error(data: bytes) -> None:
    try:
        decode_reply_batch(data)
    except DecodeError as error:
        assert error.data == data  # noqa: PT017 - both ends of the law


@given(BATCHES, st.data())
def test_a_damaged_reply_batch_never_raises_anything_but_a_decode_error(batch: ReplyBatch, data: st.DataObject) -> None:
    raw = bytearray(encode_reply_batch(batch))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    for damaged in (bytes(raw), bytes(raw[: bit // 8])):
        try:
            decode_reply_batch(damaged)
        except DecodeError as error:
            assert error.data == damaged  # noqa: PT017 - both ends of the law


def test_a_reply_batch_from_a_newer_release_with_more_fields_is_still_read() -> None:
    newer = msgspec.msgpack.encode(["w", "1", 1, 5, [["q", "ok", b"[1]", False, 7, "new"]], "new"])
    assert decode_reply_batch(newer) == ReplyBatch("w", "1", 1, 5, [Reply("q", "ok", b"[1]", tensor=False, queue_us=7)])


def test_a_cause_that_is_no_utf_8_is_still_told() -> None:
    assert Reply("q", "model_error", b"bad \xff").cause == "bad �"


def test_each_outcome_has_its_http_status() -> None:
    statuses = {outcome.value: outcome.http_status for outcome in Outcome}
    assert statuses == {
        "ok": 200,
        "bad_input": 400,
        "model_error": 500,
        "expired": 504,
        "rejected": 429,
        "no_model": 404,
    }


# Dead letters.


def test_a_dead_letter_says_where_it_came_from_and_why() -> None:
    record = consumed(b"x", ("skysail-id", b"q"), ("binary", b"\xff"), ("empty", None))
    headers = dead_letter_headers(record, "DecodeError", "not valid JSON", now_ms=1_700_000_000_123)
    assert headers[:2] == [("skysail-id", b"q"), ("binary", b"\xff")]
    named = dict(headers)
    for prefix in ("skysail-dlt-", "kafka_dlt-"):
        assert named[prefix + "original-topic"] == b"skysail.t.models.m.queries"
        assert named[prefix + "original-partition"] == b"3"
        assert named[prefix + "original-offset"] == b"41"
        assert named[prefix + "original-timestamp"] == b"1700000000000"
    assert named["skysail-dlt-reason"] == named["kafka_dlt-exception-fqcn"] == b"DecodeError"
    assert named["skysail-dlt-error"] == named["kafka_dlt-exception-message"] == b"not valid JSON"
    assert named["skysail-dlt-timestamp"] == b"1700000000123"


def test_a_dead_letters_cause_may_hold_what_utf_8_cannot() -> None:
    named = dict(dead_letter_headers(consumed(b"x"), "ModelError", "no file \udcff"))
    assert named["skysail-dlt-error"] == b"no file \\udcff"


def test_a_dead_letter_is_a_query_again_when_it_is_sent_back() -> None:
    query = Query("q", b"[1]", deadline_ms=5, reply_to="redis:c")
    record = consumed(query.payload, *encode_query_headers(query))
    headers: list[Any] = dead_letter_headers(record, "crash", "three times")
    assert decode_query(consumed(query.payload, *headers)) == query
