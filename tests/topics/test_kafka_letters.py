"""Reading a topic from end to end, on real Kafka."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from skysail.topics.errors import UnavailableError
from skysail.topics.kafka.letters import TopicReader
from tests.services import Kafka
from tests.services.ports import free_port
from tests.topics.kafka_ends import make_topics
from tests.waiting import wait_until


@pytest.fixture
def topic(kafka: Kafka, namespace: str) -> str:
    make_topics(kafka.address, {namespace: 3})
    return namespace


def send(kafka: Kafka, topic: str, *values: bytes, transaction: str = "") -> None:
    """Spread over the first two partitions; the third one stays empty."""
    own = {"transactional.id": transaction} if transaction else {}
    producer = Producer({"bootstrap.servers": kafka.address, **own})
    if transaction:
        producer.init_transactions(10)
        producer.begin_transaction()
    for number, value in enumerate(values):
        producer.produce(topic, value, partition=number % 2)
    if transaction:
        producer.commit_transaction(10)
    assert producer.flush(10) == 0


def values(reader: TopicReader, topic: str) -> set[bytes | None]:
    return {record.value for record in reader.read(topic)}


def test_all_that_is_there_is_read_and_each_time_anew(kafka: Kafka, topic: str) -> None:
    reader = TopicReader({"bootstrap.servers": kafka.address})
    assert values(reader, topic) == set()
    sent = [b"%d" % number for number in range(1200)]
    send(kafka, topic, *sent)
    assert values(reader, topic) == set(sent)
    assert values(reader, topic) == set(sent)


def test_a_topic_that_ends_with_a_marker_of_a_transaction_has_an_end(kafka: Kafka, topic: str) -> None:
    send(kafka, topic, b"a", b"b", transaction=f"{topic}-t")
    reader = TopicReader({"bootstrap.servers": kafka.address}, silence_s=5)
    # A commit returns when it is certain; the markers that make it visible come a moment later.
    wait_until(lambda: values(reader, topic) == {b"a", b"b"}, 10, "what was committed")


def test_a_topic_that_does_not_exist_holds_nothing(kafka: Kafka, namespace: str) -> None:
    assert values(TopicReader({"bootstrap.servers": kafka.address}), f"{namespace}.nowhere") == set()


def test_what_is_cut_off_is_not_read_any_more(kafka: Kafka, topic: str) -> None:
    reader = TopicReader({"bootstrap.servers": kafka.address})
    send(kafka, topic, b"a", b"b", b"c", b"d")
    reader.cut(topic, {0: 1})
    assert values(reader, topic) == {b"b", b"c", b"d"}
    reader.cut(topic, {0: 2, 1: 2})
    assert values(reader, topic) == set()


def test_a_broker_that_does_not_answer_is_unavailable() -> None:
    reader = TopicReader({"bootstrap.servers": f"127.0.0.1:{free_port()}"})
    with pytest.raises(UnavailableError):
        values(reader, "any")
