from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import confluent_kafka
import pytest

from skysail.topics.errors import PayloadTooLargeError, RejectedError, UnavailableError
from skysail.topics.kafka.producer import KafkaProducer
from tests.services import Kafka
from tests.topics.kafka_ends import make_topics, read_all
from tests.topics.librdkafka import fail_fatally
from tests.waiting import wait_until


class Watched:
    """A producer and every failure that it reported."""

    def __init__(self, bootstrap_servers: str, **properties: object) -> None:
        self.failures: list[tuple[bytes | None, str]] = []
        self.producer = KafkaProducer({"bootstrap.servers": bootstrap_servers, **properties}, self._note)

    def _note(self, key: bytes | None, reason: str) -> None:
        self.failures.append((key, reason))

    def failures_after_poll(self) -> list[tuple[bytes | None, str]]:
        self.producer.poll()
        return self.failures


@pytest.fixture
def topic(kafka: Kafka, namespace: str) -> str:
    make_topics(kafka.address, {namespace: 4})
    return namespace


@pytest.fixture
def watched(kafka: Kafka) -> Iterator[Watched]:
    watched = Watched(kafka.address)
    yield watched
    watched.producer.close()


def test_a_record_is_stored_as_it_was_sent_where_it_was_sent(kafka: Kafka, topic: str, watched: Watched) -> None:
    for partition in (2, 0, 3):
        headers = [("text", b"a"), ("binary", b"\xff\x00"), ("text", b"again")]
        watched.producer.send(topic, partition, b"value", b"key", headers)
    watched.producer.send(topic, 1, b"", None, [])
    assert watched.producer.flush(10) == 0
    messages = {message.partition(): message for message in read_all(kafka.address, topic, 4, 4)}
    assert messages.keys() == {0, 1, 2, 3}
    assert messages[3].value() == b"value"
    assert messages[3].key() == b"key"
    assert messages[3].headers() == [("text", b"a"), ("binary", b"\xff\x00"), ("text", b"again")]
    assert (messages[1].value(), messages[1].key(), messages[1].headers()) == (b"", None, None)
    assert watched.failures_after_poll() == []


def test_a_large_record_passes_and_a_larger_one_is_refused(kafka: Kafka, topic: str, watched: Watched) -> None:
    value = os.urandom(20 * 1024 * 1024)
    watched.producer.send(topic, 0, value, b"large", [])
    assert watched.producer.flush(20) == 0
    assert watched.failures_after_poll() == []
    assert read_all(kafka.address, topic, 1, 1)[0].value() == value
    with pytest.raises(PayloadTooLargeError, match="larger than"):
        watched.producer.send(topic, 0, bytes(33 * 1024 * 1024), b"larger", [])


def test_a_record_for_a_topic_that_is_not_there_is_reported(watched: Watched, namespace: str) -> None:
    watched.producer.send(namespace, 0, b"", b"key", [])
    wait_until(watched.failures_after_poll, 5, "the failure is reported")
    assert watched.failures[0][0] == b"key"
    assert watched.producer.available, "a missing topic is no missing broker"


def test_a_producer_learns_which_topics_exist(topic: str, watched: Watched) -> None:
    assert watched.producer.learn(topic, 5)
    assert not watched.producer.learn(topic + "-not", 5)


def test_threads_that_ask_at_once_share_one_client(
    watched: Watched, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    real = confluent_kafka.Producer

    def make(config: dict[str, object]) -> confluent_kafka.Producer:
        made.append(config)
        return real(config)

    monkeypatch.setattr(confluent_kafka, "Producer", make)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: watched.producer.learn(topic, 5), range(16)))
    assert len(made) == 1, "a second one would be forgotten with what it holds"


def test_nothing_connects_before_the_first_use() -> None:
    watched = Watched("no-such-host.invalid:1")
    watched.producer.poll()
    watched.producer.abandon()
    assert watched.producer.flush(1) == 0
    watched.producer.close()
    assert watched.producer.available


def test_a_broker_that_was_never_there_is_noticed(namespace: str) -> None:
    watched = Watched("127.0.0.1:1", **{"message.timeout.ms": 60_000})
    assert not watched.producer.probe(0.5)
    assert not watched.producer.available
    assert not watched.producer.learn(namespace, 0.1)
    watched.producer.send(namespace, 0, b"", b"key", [])
    assert watched.failures_after_poll() == []
    watched.producer.abandon()
    wait_until(watched.failures_after_poll, 5, "the record that was given up is reported")
    assert [key for key, _ in watched.failures] == [b"key"]
    watched.producer.close()


def test_a_broker_that_stops_is_noticed_and_records_are_reported_and_it_is_found_again(
    fragile_kafka: Kafka, namespace: str
) -> None:
    make_topics(fragile_kafka.address, {namespace: 2})
    watched = Watched(fragile_kafka.address)
    watched.producer.send(namespace, 0, b"before", b"before", [])
    assert watched.producer.flush(10) == 0
    fragile_kafka.stop()
    watched.producer.send(namespace, 1, b"lost", b"lost", [])
    wait_until(lambda: watched.failures_after_poll() and not watched.producer.available, 5, "the failure is reported")
    assert [key for key, _ in watched.failures] == [b"lost"]
    fragile_kafka.start()
    wait_until(lambda: watched.producer.probe(0.5), 20, "the broker is found again")
    assert watched.producer.available
    watched.producer.send(namespace, 1, b"after", b"after", [])
    assert watched.producer.flush(20) == 0
    assert len(watched.failures_after_poll()) == 1
    found = read_all(fragile_kafka.address, namespace, 2, 2)
    assert {message.value() for message in found} == {b"before", b"after"}
    watched.producer.close()


def test_a_broker_that_hangs_does_not_hold_the_sender_up(fragile_kafka: Kafka, namespace: str) -> None:
    make_topics(fragile_kafka.address, {namespace: 1})
    watched = Watched(fragile_kafka.address, **{"message.timeout.ms": 500})
    watched.producer.send(namespace, 0, b"before", b"before", [])
    assert watched.producer.flush(10) == 0
    fragile_kafka.pause()
    try:
        watched.producer.send(namespace, 0, b"stuck", b"stuck", [])
        wait_until(watched.failures_after_poll, 5, "the failure is reported")
        assert not watched.producer.probe(0.2)
        assert not watched.producer.available
    finally:
        fragile_kafka.resume()
    wait_until(lambda: watched.producer.probe(0.5), 20, "the broker is found again")
    watched.producer.send(namespace, 0, b"after", b"after", [])
    assert watched.producer.flush(20) == 0
    watched.producer.close()


@pytest.mark.skipif(sys.platform != "linux", reason="finds librdkafka in /proc")
@pytest.mark.parametrize("use", [KafkaProducer.poll, KafkaProducer.abandon, lambda producer: producer.flush(5)])
def test_a_producer_that_failed_fatally_reports_what_it_held_and_starts_anew(
    kafka: Kafka, topic: str, watched: Watched, use: Callable[[KafkaProducer], object]
) -> None:
    watched.producer.send(topic + "-not", 0, b"", b"held", [])
    fail_fatally(watched.producer)
    use(watched.producer)
    assert [key for key, _ in watched.failures_after_poll()] == [b"held"]
    watched.producer.send(topic, 0, b"after", b"after", [])
    assert watched.producer.flush(10) == 0
    assert len(watched.failures_after_poll()) == 1
    assert read_all(kafka.address, topic, 1, 1)[0].value() == b"after"


@pytest.mark.skipif(sys.platform != "linux", reason="finds librdkafka in /proc")
def test_a_send_that_meets_a_fatal_failure_is_refused_and_the_next_is_not(topic: str, watched: Watched) -> None:
    assert watched.producer.probe(5)
    fail_fatally(watched.producer)
    with pytest.raises(UnavailableError, match=r"[Ff]atal"):
        watched.producer.send(topic, 0, b"", b"refused", [])
    watched.producer.poll()
    watched.producer.send(topic, 0, b"", b"after", [])
    assert watched.producer.flush(10) == 0
    assert watched.failures_after_poll() == []


def test_a_full_queue_refuses_at_once(namespace: str) -> None:
    watched = Watched("127.0.0.1:1", **{"queue.buffering.max.messages": 10})
    for _ in range(10):
        watched.producer.send(namespace, 0, b"", b"key", [])
    with pytest.raises(RejectedError, match="queue is full"):
        watched.producer.send(namespace, 0, b"", b"key", [])
    watched.producer.abandon()
    watched.producer.close()
