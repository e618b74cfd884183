"""What a worker does, on the in-memory fake, on the embedded broker and on Kafka; the store is a real Redis."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from skysail.topics.names import KeyNames, TopicNames, dead_letter_topic
from skysail.topics.payloads import TENSOR, decode_tensors
from skysail.topics.records import Outcome, Query
from skysail.topics.specs import BatchSpec, InputType, ModelSpec
from skysail.topics.store.cache import cache_digest
from skysail.topics.store.jobs import decode_job
from tests.services import Redis
from tests.waiting import wait_until
from tests.workers.benches import Bench, KafkaBench, MemoryBench, Replies
from tests.workers.loop_worker import LoopWorker
from tests.workers.samples import query_of, vector_query

PARTITIONS = 4

#: What the embedded broker wants: it sleeps through half of each wait, and gives members half of a session to join.
EMBEDDED = {"fetch.wait.max.ms": 2, "session.timeout.ms": 3000, "heartbeat.interval.ms": 300}
KAFKA = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 300}


@pytest.fixture(
    params=[
        "memory",
        pytest.param("embedded", marks=pytest.mark.embedded),
        pytest.param("kafka", marks=pytest.mark.kafka),
    ]
)
def bench(request: pytest.FixtureRequest) -> Bench:
    """A broker."""
    if request.param == "memory":
        return MemoryBench()
    if request.param == "embedded":
        return KafkaBench(request.getfixturevalue("embedded_broker").address, **EMBEDDED)
    return KafkaBench(request.getfixturevalue("kafka").address, **KAFKA)


class Stage:
    """One model on one broker, and somebody who asks."""

    def __init__(self, bench: Bench, redis_url: str, namespace: str, folder: Path) -> None:
        self.bench = bench
        self.redis_url = redis_url
        self.namespace = namespace
        self.folder = folder
        self.names = TopicNames(namespace)
        self.keys = KeyNames(namespace)
        self.store: Any = redis.Redis.from_url(redis_url)
        self.replies = Replies(bench, redis_url, namespace)
        self.workers: list[LoopWorker] = []
        self.shared = self.names.model("m")
        bench.create(PARTITIONS, self.shared)

    def topic(self, version: str = "1") -> str:
        return self.names.version("m", version)

    def committed(self, topic: str) -> int:
        """Sum of the offsets committed on a topic, in the group that reads it."""
        version = topic.split(".")[4]
        group = self.names.model_group("m") if topic == self.shared else self.names.version_group("m", version)
        return self.bench.committed(group, topic)

    def worker(self, function: Callable[[Any], Any], version: str = "1", **spec: Any) -> LoopWorker:
        """A worker that is not started; its topic exists."""
        self.bench.create(PARTITIONS, self.topic(version))
        self.bench.create(1, dead_letter_topic(self.topic(version)))
        worker = LoopWorker(
            self.bench.ends,
            ModelSpec(name="m", version=version, partitions=PARTITIONS, **spec),
            function,
            redis_url=self.redis_url,
            namespace=self.namespace,
            folder=self.folder,
        )
        self.workers.append(worker)
        return worker

    def start(
        self, function: Callable[[Any], Any], version: str = "1", *, current: bool = False, **spec: Any
    ) -> LoopWorker:
        worker = self.worker(function, version, **spec)
        worker.start(current=current)
        return worker

    def ask(self, *queries: Query, topic: str | None = None, partition: int = -1) -> None:
        self.replies.ask(topic or self.topic(), *queries, partition=partition)

    def vector(self, *numbers: float, query_id: str, **fields: Any) -> Query:
        return vector_query(*numbers, query_id=query_id, reply_to=self.replies.reply_to, **fields)

    def answer(self, query_id: str) -> Any:
        reply = self.replies.by_id[query_id]
        assert reply.outcome == Outcome.OK, reply.cause
        return json.loads(reply.value)

    def job(self, query_id: str) -> Any:
        raw = wait_until(lambda: self.store.get(self.keys.job(query_id)), 40, f"job {query_id}")
        return decode_job(raw)[1]

    def wait_committed(self, count: int, topic: str | None = None) -> None:
        place = topic or self.topic()
        wait_until(lambda: self.committed(place) >= count, 40, f"{count} committed on {place}")

    def close(self) -> None:
        for worker in self.workers:
            worker.stop()
        self.replies.close()
        self.store.close()


@pytest.fixture
def stage(bench: Bench, redis_server: Redis, namespace: str, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(bench, redis_server.url, namespace, tmp_path)
    yield stage
    stage.close()


def sums(batch: Any) -> Any:
    return batch.sum(axis=1)


def test_answers_are_the_models_and_all_offsets_are_committed(stage: Stage) -> None:
    stage.start(sums)
    rng = np.random.default_rng(7)
    rows = rng.random((200, 8))
    stage.ask(*[stage.vector(*row, query_id=f"q{i}") for i, row in enumerate(rows)])
    stage.replies.wait_for(f"q{i}" for i in range(200))
    assert [stage.answer(f"q{i}") for i in range(200)] == [[value] for value in rows.sum(axis=1).tolist()]
    stage.wait_committed(200)


def test_while_the_model_is_busy_a_batch_grows_and_it_is_never_above_the_cap(stage: Stage) -> None:
    going = threading.Event()
    seen: list[int] = []

    def slow_start(batch: Any) -> Any:
        seen.append(len(batch))
        going.wait(30)
        return sums(batch)

    stage.start(slow_start, batch=BatchSpec(policy="fixed", size=16))
    stage.ask(stage.vector(1.0, query_id="first"))
    wait_until(lambda: seen, 40, "the first batch runs")
    stage.ask(*[stage.vector(float(i), query_id=f"q{i}") for i in range(64)])
    going.set()
    stage.replies.wait_for(f"q{i}" for i in range(64))
    assert seen[0] == 1
    assert max(seen) == 16
    assert sum(seen) == 65


def test_a_query_that_the_model_raises_on_fails_alone(stage: Stage) -> None:
    def picky(batch: Any) -> Any:
        if (batch < 0).any():
            message = "no negatives"
            raise ValueError(message)
        return sums(batch)

    stage.start(picky)
    ids = [f"q{i}" for i in range(40)]
    stage.ask(*[stage.vector(-1.0 if i == 20 else 1.0, query_id=query_id) for i, query_id in enumerate(ids)])
    stage.replies.wait_for(ids)
    assert {query_id for query_id, outcome in stage.replies.outcomes().items() if outcome != "ok"} == {"q20"}
    assert stage.replies.by_id["q20"].cause == "ValueError: no negatives"
    stage.wait_committed(40)


def test_a_wrong_number_of_outputs_is_told_to_every_query_of_the_batch(stage: Stage) -> None:
    stage.start(lambda batch: [1.0] * (len(batch) + 1))
    stage.ask(stage.vector(1.0, query_id="q"))
    stage.replies.wait_for(["q"])
    assert stage.replies.outcomes() == {"q": "model_error"}
    assert "given 1 rows and returned 2 outputs" in stage.replies.by_id["q"].cause


def test_an_expired_query_is_never_given_to_the_model(stage: Stage) -> None:
    seen: list[float] = []

    def remember(batch: Any) -> Any:
        seen.extend(batch[:, 0].tolist())
        return sums(batch)

    stage.start(remember)
    now_ms = time.time_ns() // 1_000_000
    stage.ask(
        stage.vector(1.0, query_id="late", deadline_ms=now_ms - 1),
        stage.vector(2.0, query_id="in time", deadline_ms=now_ms + 60_000),
    )
    stage.replies.wait_for(["late", "in time"])
    assert stage.replies.outcomes() == {"late": "expired", "in time": "ok"}
    assert seen == [2.0]
    stage.wait_committed(2)


def test_records_that_cannot_be_decoded_go_to_the_dead_letters_and_the_partition_moves_on(stage: Stage) -> None:
    stage.start(sums, input_type=InputType.DOUBLES)
    topic = stage.topic()
    stage.bench.send(topic, b"{not json", key=b"k", headers=[], partition=0)
    stage.bench.send(topic, b"\xff\xfe", key=None, headers=[("content-type", b"image/png")], partition=0)
    stage.ask(stage.vector(1.0, query_id="good"), partition=0)
    stage.replies.wait_for(["good"])
    first, second = stage.bench.read(dead_letter_topic(topic), 2)
    assert {first.value, second.value} == {b"{not json", b"\xff\xfe"}
    headers = dict((first if first.key == b"k" else second).headers or [])
    assert headers["skysail-dlt-original-topic"] == topic.encode()
    assert headers["skysail-dlt-original-partition"] == b"0"
    assert headers["skysail-dlt-original-offset"] == b"0"
    assert headers["skysail-dlt-reason"] == b"undecodable"
    assert b"not valid JSON" in (headers["skysail-dlt-error"] or b"")
    stage.wait_committed(3)


def test_a_bare_json_value_without_headers_is_a_query_whose_outcome_is_kept(stage: Stage) -> None:
    stage.start(sums)
    stage.bench.send(stage.topic(), b"[1, 2, 3.5]", key=None, headers=[], partition=2)
    reply = stage.job(f"{stage.topic()}-2-0")
    assert (reply.outcome, reply.value) == ("ok", b"[6.5]")
    assert 0 < stage.store.ttl(stage.keys.job(reply.id)) <= 3600


def test_an_answer_goes_to_the_kafka_topic_that_a_foreign_producer_names(stage: Stage) -> None:
    answers = f"{stage.namespace}.answers"
    stage.bench.create(1, answers)
    stage.start(sums)
    correlation = bytes(range(16))
    headers = [("kafka_replyTopic", answers.encode()), ("kafka_correlationId", correlation)]
    stage.bench.send(stage.topic(), b"[1, 2]", key=b"key", headers=headers, partition=1)
    (record,) = stage.bench.read(answers, 1)
    answered = dict(record.headers or [])
    assert (record.key, record.value) == (b"key", b"[3.0]")
    assert answered["kafka_correlationId"] == answered["correlation-id"] == correlation
    assert answered["skysail-outcome"] == b"ok"
    assert answered["skysail-version"] == b"1"
    stage.wait_committed(1)


def test_an_answer_for_a_topic_that_does_not_exist_is_kept_and_others_are_answered(stage: Stage) -> None:
    stage.start(sums)
    stage.ask(vector_query(1.0, query_id="lost", reply_to="kafka:no-such-topic"), stage.vector(2.0, query_id="good"))
    stage.replies.wait_for(["good"])
    assert stage.job("lost").value == b"[1.0]"


def test_an_answer_that_may_be_cached_is_left_in_the_store(stage: Stage) -> None:
    stage.start(sums)
    query = stage.vector(1.0, 2.0, query_id="q", cache_ttl_s=60)
    stage.ask(query)
    stage.replies.wait_for(["q"])
    key = stage.keys.cache_prefix("m", "1") + cache_digest(query).hex()
    assert stage.store.get(key) == b"j[3.0]"
    assert 0 < stage.store.ttl(key) <= 60


def test_tensors_are_answered_with_tensors_to_who_wants_them(stage: Stage) -> None:
    stage.start(sums)
    stage.ask(stage.vector(1.0, 2.0, query_id="q", accept=TENSOR))
    stage.replies.wait_for(["q"])
    reply = stage.replies.by_id["q"]
    assert reply.tensor
    assert decode_tensors(reply.value)["output"].tolist() == [3.0]


def test_an_async_predict_function_serves_like_any_other(stage: Stage) -> None:
    async def predict(batch: Any) -> Any:
        return [value.upper() for value in batch]

    stage.start(predict, input_type=InputType.STRINGS)
    stage.ask(query_of("a", "q", reply_to=stage.replies.reply_to))
    stage.replies.wait_for(["q"])
    assert stage.answer("q") == ["A"]


def test_a_suspect_runs_alone_and_is_cleared_with_its_answer(stage: Stage) -> None:
    topic = stage.topic()
    stage.bench.create(PARTITIONS, topic)
    stage.store.hset(stage.keys.suspects("m"), f"{topic}/0/1", b'{"count": 1}')
    stage.ask(*[stage.vector(float(i), query_id=f"q{i}") for i in range(3)], partition=0)
    stage.start(sums, batch=BatchSpec(policy="fixed", size=8))
    stage.replies.wait_for(["q0", "q1", "q2"])
    assert sorted(stage.replies.batch_rows) == [1, 2]
    wait_until(lambda: not stage.store.exists(stage.keys.suspects("m")), 10, "the suspect is cleared")


def test_a_query_that_ended_three_workers_is_answered_with_that_and_never_runs_again(stage: Stage) -> None:
    topic = stage.topic()
    stage.bench.create(PARTITIONS, topic)
    stage.store.hset(stage.keys.suspects("m"), f"{topic}/0/0", b'{"count": 3}')
    stage.ask(stage.vector(666.0, query_id="killer"), stage.vector(1.0, query_id="good"), partition=0)
    seen: list[float] = []

    def remember(batch: Any) -> Any:
        seen.extend(batch[:, 0].tolist())
        return sums(batch)

    stage.start(remember)
    stage.replies.wait_for(["killer", "good"])
    assert stage.replies.outcomes() == {"killer": "model_error", "good": "ok"}
    assert seen == [1.0]
    (letter,) = stage.bench.read(dead_letter_topic(topic), 1)
    assert dict(letter.headers or [])["skysail-dlt-reason"] == b"crash_limit"
    wait_until(lambda: not stage.store.exists(stage.keys.suspects("m")), 10, "the suspect is cleared")


def test_what_a_worker_did_not_finish_is_done_by_the_next_one_and_nothing_is_lost(stage: Stage) -> None:
    running = threading.Event()

    def slow(batch: Any) -> Any:
        running.set()
        time.sleep(0.02)
        return sums(batch)

    first = stage.start(slow, batch=BatchSpec(policy="fixed", size=8))
    ids = [f"q{i}" for i in range(100)]
    stage.ask(*[stage.vector(float(i), query_id=query_id) for i, query_id in enumerate(ids)])
    assert running.wait(40)
    first.stop()
    stage.workers.remove(first)
    stage.replies.take()
    answered = len(stage.replies.by_id)
    assert 0 < answered < 100
    # What was answered was committed before the worker left, so nothing is computed twice.
    assert stage.committed(stage.topic()) == answered
    stage.start(slow, batch=BatchSpec(policy="fixed", size=8))
    stage.replies.wait_for(ids)
    assert set(stage.replies.copies.values()) == {1}
    stage.wait_committed(100)


def test_partitions_go_to_another_worker_while_a_batch_runs_and_the_batch_is_answered(stage: Stage) -> None:
    running, going = threading.Event(), threading.Event()

    def slow(batch: Any) -> Any:
        running.set()
        going.wait(50)
        return sums(batch)

    first = stage.start(slow, batch=BatchSpec(policy="fixed", size=1))
    ids = [f"q{partition}" for partition in range(PARTITIONS)]
    for partition, query_id in enumerate(ids):
        stage.ask(stage.vector(float(partition), query_id=query_id), partition=partition)
    assert running.wait(40)
    second = stage.start(sums)
    # The first worker is inside predict; it lets go of half of its partitions all the same.
    wait_until(lambda: len(second.stats.partitions) == 2, 40, "the second worker has its share")
    assert len(first.stats.partitions) == 2
    going.set()
    stage.replies.wait_for(ids)
    assert [stage.answer(query_id) for query_id in ids] == [[float(i)] for i in range(PARTITIONS)]
    stage.wait_committed(PARTITIONS)


def test_a_promotion_hands_the_models_topic_to_the_other_version(stage: Stage) -> None:
    old = stage.start(sums, "1", current=True)
    new = stage.start(lambda batch: -sums(batch), "2")
    stage.ask(*[stage.vector(1.0, query_id=f"a{i}") for i in range(20)], topic=stage.shared)
    stage.replies.wait_for(f"a{i}" for i in range(20))
    assert set(stage.replies.versions) == {"1"}
    for worker in (old, new):
        worker.line.subscription.set_current("2")
    sent: list[str] = []

    def answered_by_the_new_version() -> bool:
        query_id = f"b{len(sent)}"
        sent.append(query_id)
        stage.ask(stage.vector(1.0, query_id=query_id), topic=stage.shared)
        stage.replies.wait_for([query_id])
        return stage.replies.versions["2"] >= 8

    wait_until(answered_by_the_new_version, 50, "the new version answers on the model's topic")
    stage.ask(stage.vector(1.0, query_id="own"), topic=stage.topic("1"))
    stage.replies.wait_for(["own"])
    assert stage.answer("own") == [1.0]
    assert set(stage.replies.outcomes().values()) == {"ok"}
    stage.wait_committed(20 + len(sent), stage.shared)
    # What the old version had answered was committed before it let go of the topic.
    assert set(stage.replies.copies.values()) == {1}
