"""Where outcomes go, and in what form."""

from __future__ import annotations

from typing import Any

import pytest

from skysail.topics.names import KeyNames
from skysail.topics.payloads import JSON
from skysail.topics.records import ConsumedRecord, Outcome, Query, Reply, decode_query, decode_reply_batch
from skysail.topics.store.cache import cache_digest
from skysail.topics.store.jobs import decode_job
from skysail.workers import outcomes
from skysail.workers.finished import DeadLetter, Finished
from skysail.workers.outcomes import OutcomeWriter
from skysail.workers.work import Work
from tests.workers.samples import TOPIC, query_of, record_of, work_of

KEYS = KeyNames("t")


def writer() -> OutcomeWriter:
    return OutcomeWriter(KEYS, model="m", version="1", worker_id="w", job_ttl_s=60, now_ms=lambda: 42)


def finished_with(*works: Work, outcome: str = "ok", value: bytes = b"[1]") -> Finished:
    finished = Finished()
    finished.rows, finished.predict_us = len(works), 250
    finished.answers = [(work, Reply(work.query.id, outcome, value)) for work in works]
    return finished


def commands_of(finished: Finished) -> list[tuple[Any, ...]]:
    return writer().commands(finished)[0]


def test_the_outcomes_of_one_client_are_one_stream_entry() -> None:
    works = [work_of(query_of(1, f"q{i}", reply_to=f"redis:c{i % 2}"), i) for i in range(6)]
    commands = commands_of(finished_with(*works))
    added = [command for command in commands if command[0] == "XADD"]
    assert [command[1] for command in added] == [KEYS.replies("c0"), KEYS.replies("c1")]
    batch = decode_reply_batch(added[0][-1])
    assert (batch.worker, batch.version, batch.rows, batch.predict_us) == ("w", "1", 6, 250)
    assert [reply.id for reply in batch.replies] == ["q0", "q2", "q4"]


def test_an_outcome_that_nobody_waits_for_is_kept_as_a_job_once() -> None:
    ((name, key, value, *options),) = commands_of(finished_with(work_of(query_of(1, "q"))))
    assert (name, key, options) == ("SET", KEYS.job("q"), ["NX", "EX", 60])
    batch, reply = decode_job(value)
    assert (batch.version, reply.id, reply.value) == ("1", "q", b"[1]")


def test_an_answer_is_cached_where_the_query_says_so_and_a_failure_never() -> None:
    query = query_of(1, "q", reply_to="redis:c", cache_ttl_s=30)
    cached = [command for command in commands_of(finished_with(work_of(query))) if command[0] == "SET"]
    assert cached == [("SET", KEYS.cache_prefix("m", "1") + cache_digest(query).hex(), b"j[1]", "EX", 30)]
    failed = commands_of(finished_with(work_of(query), outcome="model_error"))
    assert not [command for command in failed if command[0] == "SET"]


def test_a_suspect_is_cleared_with_its_answer() -> None:
    commands = commands_of(finished_with(work_of(query_of(1, "q", reply_to="redis:c"), 5, crashes=1)))
    assert ("HDEL", KEYS.suspects("m"), f"{TOPIC}/0/5") in commands


def test_replies_too_large_for_one_entry_travel_as_several_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "_LARGEST_ENTRY_BYTES", 100)
    works = [work_of(query_of(1, f"q{i}", reply_to="redis:c"), i) for i in range(5)]
    added = [c for c in commands_of(finished_with(*works, value=b"x" * 40)) if c[0] == "XADD"]
    batches = [[reply.id for reply in decode_reply_batch(command[-1]).replies] for command in added]
    assert batches == [["q0", "q1"], ["q2", "q3"], ["q4"]]


def test_an_answer_for_a_kafka_topic_names_the_query_the_version_and_the_callers_correlation() -> None:
    headers: list[tuple[str, bytes | None]] = [
        ("kafka_correlationId", b"\x00\x01"),
        ("kafka_replyTopic", b"answers"),
    ]
    record = ConsumedRecord(TOPIC, 0, 3, b"1", b"key", headers)
    work = Work(decode_query(record), record)
    finished = finished_with(work)
    commands, for_kafka = writer().commands(finished)
    assert not commands
    ((answered, reply),) = for_kafka
    out = writer().reply_record(answered, reply)
    assert (out.topic, out.value, out.key) == ("answers", b"[1]", b"key")
    assert dict(out.headers) == {
        "skysail-id": f"{TOPIC}-0-3".encode(),
        "skysail-outcome": b"ok",
        "skysail-version": b"1",
        "content-type": JSON.encode(),
        "correlation-id": b"\x00\x01",
        "kafka_correlationId": b"\x00\x01",
    }


def test_a_failure_on_a_kafka_topic_is_text() -> None:
    work = work_of(query_of(1, "q", reply_to="kafka:answers"))
    out = writer().reply_record(work, Reply("q", Outcome.MODEL_ERROR, b"why"))
    assert dict(out.headers)["content-type"] == b"text/plain; charset=utf-8"


def test_a_dead_letter_keeps_key_bytes_headers_and_says_where_it_came_from() -> None:
    record = record_of(Query("q", b"\xff\x00", JSON, None), offset=9)
    out = writer().dead_letter(DeadLetter(record, "undecodable", "because"))
    headers = dict(out.headers)
    assert (out.topic, out.value, out.key) == (f"{TOPIC}-dlt", b"\xff\x00", b"q")
    assert headers["skysail-id"] == b"q"
    assert headers["skysail-dlt-original-topic"] == TOPIC.encode()
    assert headers["skysail-dlt-original-offset"] == b"9"
    assert headers["skysail-dlt-reason"] == b"undecodable"
    assert headers["skysail-dlt-error"] == b"because"
    assert headers["skysail-dlt-timestamp"] == b"42"


def test_a_dead_tombstone_has_an_empty_value() -> None:
    assert writer().dead_letter(DeadLetter(ConsumedRecord(TOPIC, 0, 0, None), "undecodable", "x")).value == b""
