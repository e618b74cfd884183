"""Worker processes on a real Kafka and a real Redis: how they start, what ends them, and that nothing is lost."""

from __future__ import annotations

import json
import signal
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from skysail.topics.names import dead_letter_topic
from skysail.topics.records import Query
from skysail.topics.specs import BatchSpec, InputType, ModelSpec, WorkerState
from skysail.workers.keeper import EXIT_PREDICT_TIMEOUT
from skysail.workers.process import ExitStatus
from tests.services import Kafka, Redis
from tests.services.ports import free_port
from tests.waiting import wait_until
from tests.workers.benches import KafkaBench, Replies
from tests.workers.harness import Deployment, Worker
from tests.workers.samples import vector_query

pytestmark = pytest.mark.timeout(120)

FIXED_8 = BatchSpec(policy="fixed", size=8)


# Models are made by functions, so that they are pickled by value: a worker does not import the tests.


def adder() -> Callable[[Any], Any]:
    def predict(batch: Any) -> Any:
        return batch.sum(axis=1)

    return predict


def sleeper(seconds: float, mark: Path | None = None) -> Callable[[Any], Any]:
    def predict(batch: Any) -> Any:
        import time

        if mark is not None:
            mark.touch()
        time.sleep(seconds)
        return batch.sum(axis=1)

    return predict


def crasher() -> Callable[[Any], Any]:
    def predict(batch: Any) -> Any:
        import ctypes

        if (batch[:, 0] == 666).any():
            ctypes.string_at(0)  # a segmentation fault, as a broken native library would
        return batch.sum(axis=1)

    return predict


class Stage:
    """A deployment, and somebody who asks."""

    def __init__(self, kafka: Kafka, redis_url: str, namespace: str, folder: Path) -> None:
        self.deployment = Deployment(kafka.address, redis_url, namespace, folder)
        self.bench = KafkaBench(kafka.address, **self.deployment.kafka_properties)
        self.replies = Replies(self.bench, redis_url, namespace)
        self.shared = self.deployment.topics.model("m")

    def topic(self, version: str = "1") -> str:
        return self.deployment.topics.version("m", version)

    def deploy(
        self, function: Callable[[Any], Any], version: str = "1", *, current: bool = False, **fields: Any
    ) -> None:
        spec = ModelSpec(name="m", version=version, **({"partitions": 4} | fields))
        self.deployment.deploy(spec, function, current=current)
        self.bench.know(spec.partitions, self.topic(version), self.shared)

    def start(self, version: str = "1", **settings: str) -> Worker:
        return self.deployment.start("m", version, **settings)

    def ask(self, *queries: Query, topic: str | None = None, partition: int = -1) -> None:
        self.replies.ask(topic or self.topic(), *queries, partition=partition)

    def vector(self, *numbers: float, query_id: str) -> Query:
        return vector_query(*numbers, query_id=query_id, reply_to=self.replies.reply_to)

    def many(self, count: int, prefix: str = "q") -> list[Query]:
        return [self.vector(float(i), query_id=f"{prefix}{i}") for i in range(count)]

    def wait_for(self, queries: list[Query], worker: Worker | None = None) -> None:
        self.replies.wait_for([query.id for query in queries], 60, worker.log_tail if worker else str)

    def wait_answered(self, count: int) -> None:
        def answered() -> bool:
            self.replies.take()
            return len(self.replies.by_id) >= count

        wait_until(answered, 30, f"{count} answers")

    def committed(self, topic: str | None = None) -> int:
        names, place = self.deployment.topics, topic or self.topic()
        group = names.model_group("m") if place == self.shared else names.version_group("m", place.split(".")[4])
        return self.bench.committed(group, place)

    def wait_committed(self, count: int) -> None:
        wait_until(lambda: self.committed() >= count, 30, lambda: f"{count} committed; there are {self.committed()}")

    def close(self) -> None:
        self.deployment.close()
        self.replies.close()


@pytest.fixture
def stage(kafka: Kafka, redis_server: Redis, namespace: str, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(kafka, redis_server.url, namespace, tmp_path)
    yield made
    made.close()


# ---------------------------------------------------------------------------------------------------- starting


def test_a_worker_serves_what_was_deployed_says_so_and_leaves_without_a_trace(stage: Stage) -> None:
    stage.deploy(adder(), sample=[[1.0, 2.0]])
    worker = stage.start()
    queries = stage.many(50)
    stage.ask(*queries)
    stage.wait_for(queries, worker)
    assert [json.loads(stage.replies.by_id[f"q{i}"].value) for i in range(50)] == [[float(i)] for i in range(50)]
    beat = wait_until(
        lambda: (beat := worker.heartbeat()) and beat.outcomes == {"ok": 50} and beat, 10, "outcomes in the heartbeat"
    )
    assert beat
    assert (beat.model, beat.version, beat.partitions, beat.state) == ("m", "1", (0, 1, 2, 3), WorkerState.READY)
    assert beat.batch_cap >= 1
    assert worker.stop() == ExitStatus.DRAINED
    assert stage.deployment.heartbeats() == []
    assert stage.committed() == 50


def test_a_model_that_does_not_load_leaves_its_own_traceback(stage: Stage) -> None:
    def broken(_: Any) -> Any:
        message = "the weights are missing"
        raise FileNotFoundError(message)

    stage.deploy(broken, sample=[[1.0]])
    worker = stage.deployment.worker("m", "1")
    worker.start()
    assert worker.wait_exit(30) == ExitStatus.NOT_LOADED
    (beat,) = stage.deployment.heartbeats()
    assert beat.state is WorkerState.FAILED
    assert "FileNotFoundError: the weights are missing" in beat.error
    assert "in broken" in beat.error


def test_an_artifact_that_was_tampered_with_is_not_loaded(stage: Stage, tmp_path: Path) -> None:
    stage.deploy(adder())
    (tmp_path / "models" / "m" / "1" / "func.pkl").write_bytes(b"other code")
    worker = stage.deployment.worker("m", "1")
    worker.start()
    assert worker.wait_exit(30) == ExitStatus.NOT_LOADED
    (beat,) = stage.deployment.heartbeats()
    assert "sha-256 differs" in beat.error


def test_a_version_that_is_not_registered_ends_the_worker(stage: Stage) -> None:
    stage.deploy(adder())
    worker = stage.deployment.worker("m", "2")
    worker.start()
    assert worker.wait_exit(30) == ExitStatus.NOT_REGISTERED


def test_flags_win_over_the_environment(stage: Stage) -> None:
    stage.deploy(adder())
    worker = stage.deployment.worker("another", "9")
    worker.command += ["--model", "m", "--version", "1"]
    worker.start()
    beat = worker.wait_ready()
    assert (beat.model, beat.version) == ("m", "1")


def test_a_version_without_an_artifact_is_served_by_a_worker_of_your_own(stage: Stage, tmp_path: Path) -> None:
    stage.deploy(adder())
    own = tmp_path / "own_worker.py"
    own.write_text(OWN_WORKER)
    worker = stage.deployment.worker("m", "1")
    worker.command = [sys.executable, str(own)]
    worker.start()
    worker.wait_ready()
    queries = stage.many(3)
    stage.ask(*queries)
    stage.wait_for(queries, worker)
    assert [stage.replies.by_id[query.id].value for query in queries] == [b"[10.0]", b"[9.0]", b"[8.0]"]
    assert worker.stop() == ExitStatus.DRAINED


OWN_WORKER = """
import sys
from skysail.topics.settings import Settings
from skysail.workers.serving import serve
from skysail.workers.runtimes.model import FunctionModel

sys.exit(serve(Settings(), load=lambda spec: FunctionModel(lambda batch: 10 - batch[:, 0])))
"""


@pytest.mark.parametrize("model", ["", "No.Dots"])
def test_a_model_that_cannot_be_named_so_is_a_usage_error(stage: Stage, model: str) -> None:
    worker = stage.deployment.worker(model, "1")
    worker.start()
    assert worker.wait_exit(30) == ExitStatus.USAGE
    assert "model name" in worker.log_tail()


def test_a_worker_for_which_no_partition_is_left_is_ready_as_well(stage: Stage) -> None:
    stage.deploy(adder(), partitions=1)
    stage.start()
    second = stage.start()

    def states() -> list[tuple[int, WorkerState]]:
        return sorted((len(beat.partitions), beat.state) for beat in stage.deployment.heartbeats())

    wait_until(
        lambda: states() == [(0, WorkerState.READY), (1, WorkerState.READY)],
        20,
        lambda: f"one partition for two workers, both ready: {states()}",
    )
    assert second.process.poll() is None


def test_metrics_are_served_where_a_port_is_set(stage: Stage) -> None:
    stage.deploy(adder())
    port = free_port()
    stage.start(metrics_port=str(port))
    queries = stage.many(3)
    stage.ask(*queries)
    stage.wait_for(queries)

    def scrape() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        return 'skysail_worker_outcomes_total{model="m",outcome="ok",version="1"} 3.0' in text

    wait_until(scrape, 10, "three answers counted")


# ---------------------------------------------------------------------------------------------------- ending


def test_a_sigterm_during_a_batch_answers_the_batch_and_hands_back_the_rest(stage: Stage, tmp_path: Path) -> None:
    stage.deploy(sleeper(0.5, tmp_path / "running"), batch=FIXED_8)
    worker = stage.start()
    queries = stage.many(40)
    stage.ask(*queries)
    wait_until((tmp_path / "running").exists, 20, "a batch runs")
    assert worker.stop() == ExitStatus.DRAINED
    stage.replies.take()
    answered = len(stage.replies.by_id)
    assert 0 < answered < 40
    assert stage.committed() == answered
    stage.start()
    stage.wait_for(queries)
    assert set(stage.replies.outcomes().values()) == {"ok"}
    assert set(stage.replies.copies.values()) == {1}


def test_a_worker_that_was_killed_is_taken_up_where_it_was_and_nothing_is_lost(stage: Stage, tmp_path: Path) -> None:
    stage.deploy(sleeper(0.3, tmp_path / "running"), batch=FIXED_8)
    worker = stage.start()
    queries = stage.many(40)
    stage.ask(*queries)
    wait_until((tmp_path / "running").exists, 20, "a batch runs")
    worker.kill()
    worker.start()
    worker.wait_ready()
    stage.wait_for(queries, worker)
    assert set(stage.replies.outcomes().values()) == {"ok"}
    stage.wait_committed(40)
    assert not stage.deployment.store.exists(stage.deployment.keys.suspects("m"))


@pytest.mark.slow
def test_a_query_that_crashes_the_worker_is_given_up_after_three_crashes_and_the_others_are_answered(
    stage: Stage,
) -> None:
    stage.deploy(crasher(), batch=FIXED_8)
    worker = stage.start()
    queries = [stage.vector(666.0 if i == 5 else 1.0, query_id=f"q{i}") for i in range(40)]
    stage.ask(*queries, partition=0)
    crashes = 0

    def all_answered() -> bool:
        nonlocal crashes
        status = worker.process.poll()
        if status is not None:
            assert status == -signal.SIGSEGV, worker.log_tail()
            crashes += 1
            worker.start()
        stage.replies.take()
        return len(stage.replies.by_id) == 40

    wait_until(all_answered, 100, lambda: f"{len(stage.replies.by_id)} answered\n{worker.log_tail()}")
    assert crashes == 3
    assert {query_id for query_id, outcome in stage.replies.outcomes().items() if outcome != "ok"} == {"q5"}
    assert "ended 3 times" in stage.replies.by_id["q5"].cause
    (letter,) = stage.bench.read(dead_letter_topic(stage.topic()), 1)
    assert letter.key == b"q5"
    stage.wait_committed(40)
    assert not stage.deployment.store.exists(stage.deployment.keys.suspects("m"))


@pytest.mark.slow
def test_a_predict_that_outlasts_the_poll_interval_keeps_its_partitions(stage: Stage) -> None:
    stage.deployment.kafka_properties |= {"max.poll.interval.ms": 6000, "session.timeout.ms": 6000}
    stage.deploy(sleeper(8.0), batch=BatchSpec(policy="fixed", size=1))
    worker = stage.start()
    query = stage.vector(1.0, query_id="long")
    stage.ask(query)
    stage.wait_for([query], worker)
    after = stage.vector(2.0, query_id="after")
    stage.ask(after)
    stage.wait_for([after], worker)
    log = worker.log.read_text()
    assert "partitions_lost" not in log
    assert "partitions_revoked" not in log
    assert set(stage.replies.copies.values()) == {1}
    stage.wait_committed(2)


@pytest.mark.slow
def test_a_predict_beyond_its_limit_ends_the_worker_and_is_given_up_after_three_times(stage: Stage) -> None:
    def stuck(batch: Any) -> Any:
        import time

        if (batch[:, 0] == 666).any():
            time.sleep(600)
        return batch.sum(axis=1)

    stage.deploy(stuck, predict_timeout_s=0.5)
    worker = stage.start()
    queries = [stage.vector(666.0, query_id="stuck"), stage.vector(1.0, query_id="good")]
    stage.ask(*queries, partition=0)
    for _ in range(3):
        assert worker.wait_exit(30) == EXIT_PREDICT_TIMEOUT
        assert "predict_timed_out" in worker.log_tail(200)
        worker.start()
    stage.wait_for(queries, worker)
    assert stage.replies.outcomes() == {"stuck": "model_error", "good": "ok"}


@pytest.mark.slow
def test_a_predict_that_never_lets_go_of_the_interpreter_is_ended_as_well(stage: Stage) -> None:
    def stuck(batch: Any) -> Any:
        import ctypes

        ctypes.PyDLL(None).sleep(600)  # PyDLL keeps the interpreter's lock: no other thread of Python runs meanwhile
        return batch

    stage.deploy(stuck, predict_timeout_s=0.5)
    worker = stage.start()
    stage.ask(stage.vector(1.0, query_id="stuck"))
    assert worker.wait_exit(40) == ExitStatus.ERROR
    assert "Timeout" in worker.log_tail(200)
    assert "in stuck" in worker.log_tail(200)


# ---------------------------------------------------------------------------------------------------- moving


@pytest.mark.slow
def test_promotions_move_the_models_topic_between_two_versions_and_lose_nothing(stage: Stage) -> None:
    stage.deploy(adder(), "1", current=True)
    stage.deploy(adder(), "2")
    workers = [stage.start("1"), stage.start("2")]
    sent: list[Query] = []
    for promoted in ("2", "1", "2"):
        stage.deployment.promote("m", promoted)
        before = stage.replies.versions[promoted]

        def answers(version: str = promoted, before: int = before) -> bool:
            query = stage.vector(1.0, query_id=f"q{len(sent)}")
            sent.append(query)
            stage.ask(query, topic=stage.shared)
            stage.wait_for([query], workers[0])
            return stage.replies.versions[version] >= before + 10

        wait_until(answers, 60, f"version {promoted} answers on the model's topic")
    assert set(stage.replies.outcomes().values()) == {"ok"}
    wait_until(lambda: stage.committed(stage.shared) == len(sent), 20, "everything committed")


def test_a_second_worker_shares_the_partitions_and_takes_all_when_the_first_leaves(stage: Stage) -> None:
    stage.deploy(adder())
    first, second = stage.start(), stage.start()

    def partitions() -> list[int]:
        return sorted(len(beat.partitions) for beat in stage.deployment.heartbeats())

    wait_until(lambda: partitions() == [2, 2], 30, lambda: f"two partitions each; {partitions()}")
    queries = stage.many(40)
    stage.ask(*queries)
    stage.wait_for(queries)
    assert first.stop() == ExitStatus.DRAINED
    wait_until(lambda: partitions() == [4], 30, lambda: f"all for the second; {partitions()}")
    more = stage.many(40, "more")
    stage.ask(*more)
    stage.wait_for(more, second)
    assert set(stage.replies.copies.values()) == {1}


# ---------------------------------------------------------------------------------------------------- what is away


@pytest.mark.slow
def test_a_store_that_restarts_under_load_loses_no_outcome(
    kafka: Kafka, own_redis: Any, namespace: str, tmp_path: Path
) -> None:
    server = own_redis()
    stage = Stage(kafka, server.url, namespace, tmp_path)
    try:
        stage.deploy(sleeper(0.02), batch=FIXED_8)
        worker = stage.start()
        queries = stage.many(400)
        stage.ask(*queries)
        stage.wait_answered(40)
        server.kill()
        wait_until(lambda: "outcomes_not_stored" in worker.log_tail(), 20, "the worker notices")
        server.start()
        stage.wait_for(queries, worker)
        assert set(stage.replies.outcomes().values()) == {"ok"}
        stage.wait_committed(400)
    finally:
        stage.close()


@pytest.mark.slow
def test_a_stop_while_the_store_is_away_hands_the_batch_back(
    kafka: Kafka, own_redis: Any, namespace: str, tmp_path: Path
) -> None:
    server = own_redis()
    stage = Stage(kafka, server.url, namespace, tmp_path)
    try:
        stage.deploy(adder(), batch=FIXED_8)
        worker = stage.start()
        first = stage.many(1, "first")
        stage.ask(*first)
        stage.wait_for(first)
        stage.wait_committed(1)
        server.stop()
        queries = stage.many(20)
        stage.ask(*queries)
        wait_until(lambda: "outcomes_not_stored" in worker.log_tail(), 20, "the worker notices")
        assert worker.stop() == ExitStatus.DRAINED
        assert stage.committed() == 1
        server.start()
        stage.start()
        stage.wait_for(queries)
    finally:
        stage.close()


@pytest.mark.slow
def test_a_broker_that_restarts_under_load_loses_no_query(
    own_kafka: Any, redis_server: Redis, namespace: str, tmp_path: Path
) -> None:
    server = own_kafka()
    stage = Stage(server, redis_server.url, namespace, tmp_path)
    try:
        stage.deploy(sleeper(0.02), batch=FIXED_8)
        worker = stage.start()
        queries = stage.many(400)
        stage.ask(*queries)
        stage.wait_answered(40)
        server.kill()
        server.start()
        stage.wait_for(queries, worker)
        assert set(stage.replies.outcomes().values()) == {"ok"}
        stage.wait_committed(400)
        assert worker.stop() == ExitStatus.DRAINED
    finally:
        stage.close()


def test_a_model_of_any_json_is_served_to_a_plain_producer(stage: Stage) -> None:
    def shout(rows: Any) -> Any:
        return [{"said": row["word"].upper()} for row in rows]

    stage.deploy(shout, input_type=InputType.JSON, current=True)
    stage.start()
    stage.bench.send(stage.shared, b'{"word": "ahoy"}', key=None, headers=[], partition=0)
    key = stage.deployment.keys.job(f"{stage.shared}-0-0")
    assert wait_until(lambda: stage.deployment.store.get(key), 30, "an outcome")
