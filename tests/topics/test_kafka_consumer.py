from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator

import pytest
from confluent_kafka import Producer

from skysail.topics.broker import TopicPartition
from skysail.topics.errors import DecodeError, UnavailableError
from skysail.topics.kafka.consumer import KafkaConsumer
from skysail.topics.kafka.producer import KafkaProducer
from skysail.topics.records import ConsumedRecord, decode_query
from tests.services import Kafka
from tests.topics.kafka_ends import RecordingListener, make_topics
from tests.topics.librdkafka import produce_with_header
from tests.waiting import wait_until

#: The shortest that the test broker allows.
SESSION = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 200, "max.poll.interval.ms": 1500}

Members = Callable[..., KafkaConsumer]


class Told(RecordingListener):
    """What one member was told: of partitions, of failed commits, of errors."""

    def __init__(self) -> None:
        super().__init__()
        self.failed: list[tuple[dict[TopicPartition, int], str]] = []
        self.errors: list[str] = []


@pytest.fixture
def topic(kafka: Kafka, namespace: str) -> str:
    make_topics(kafka.address, {namespace: 4})
    return namespace


@pytest.fixture
def members(namespace: str) -> Iterator[Members]:
    """`members(address, told, topic, **properties)`: one more member of this test's group."""
    joined: list[KafkaConsumer] = []

    def join(address: str, told: Told, *topics: str, **properties: object) -> KafkaConsumer:
        consumer = KafkaConsumer(
            {"bootstrap.servers": address, "fetch.wait.max.ms": 50, **SESSION, **properties},
            namespace,
            told,
            on_error=told.errors.append,
            on_commit_failure=lambda offsets, reason: told.failed.append((offsets, reason)),
        )
        joined.append(consumer)
        consumer.subscribe(list(topics))
        return consumer

    yield join
    for consumer in joined:
        consumer.close()


def send(address: str, topic: str, count: int, partitions: int = 4, first: int = 0) -> None:
    producer = Producer({"bootstrap.servers": address, "linger.ms": 5})
    for number in range(first, first + count):
        producer.produce(topic, str(number).encode(), partition=number % partitions)
    assert producer.flush(20) == 0


def poll_until(consumer: KafkaConsumer, count: int, timeout_s: float = 20) -> list[ConsumedRecord]:
    """`count` records, or more where they come together."""
    taken: list[ConsumedRecord] = []

    def complete() -> bool:
        taken.extend(consumer.poll(100, 0.2))
        return len(taken) >= count

    wait_until(complete, timeout_s, lambda: f"{count} records, {len(taken)} came")
    return taken


def settle(expected: dict[KafkaConsumer, int], timeout_s: float = 20) -> None:
    """Poll members until each has as many partitions as expected."""

    def settled() -> bool:
        for consumer in expected:
            assert consumer.poll(1, 0.05) == []
        return {each: len(each.assignment()) for each in expected} == expected

    wait_until(settled, timeout_s, lambda: f"shares {[len(each.assignment()) for each in expected]}")


def test_records_come_as_they_were_sent(kafka: Kafka, topic: str, members: Members) -> None:
    producer = Producer({"bootstrap.servers": kafka.address})
    before_ms = time.time_ns() // 1_000_000
    producer.produce(topic, b"value", b"key", 2, headers=[("a", b"\xff"), ("b", None), ("a", b"2")])
    producer.produce(topic, None, None, 2)
    producer.flush(10)
    full, tombstone = poll_until(members(kafka.address, Told(), topic), 2)
    assert (full.topic, full.partition, full.offset, full.value, full.key) == (topic, 2, 0, b"value", b"key")
    assert full.headers == [("a", b"\xff"), ("b", None), ("a", b"2")]
    assert 0 <= full.timestamp_ms - before_ms < 60_000
    assert (tombstone.offset, tombstone.value, tombstone.key, tombstone.headers) == (1, None, None, None)


@pytest.mark.skipif(sys.platform != "linux", reason="finds librdkafka in /proc")
def test_a_record_whose_header_has_a_name_that_is_no_text_hides_no_other(
    kafka: Kafka, topic: str, members: Members
) -> None:
    producer = KafkaProducer({"bootstrap.servers": kafka.address}, lambda _key, reason: pytest.fail(reason))
    producer.send(topic, 0, b"before", None, [("a", b"1")])
    produce_with_header(producer, topic, b"\xff\xfe", b"bad")
    producer.send(topic, 0, b"after", None, [("a", b"1")])
    assert producer.flush(10) == 0
    before, bad, after = poll_until(members(kafka.address, Told(), topic), 3)
    assert (before.value, after.value, before.fault, after.fault) == (b"before", b"after", "", "")
    assert (bad.value, bad.offset, bad.headers) == (b"bad", 1, None)
    with pytest.raises(DecodeError, match="the name of one is not UTF-8"):
        decode_query(bad)
    producer.close()


def test_a_poll_takes_what_is_there_and_does_not_wait_for_more(kafka: Kafka, topic: str, members: Members) -> None:
    send(kafka.address, topic, 40)
    consumer = members(kafka.address, Told(), topic)
    taken = poll_until(consumer, 1)
    started = time.monotonic()
    while len(taken) < 40:
        batch = consumer.poll(7, 20)
        assert 1 <= len(batch) <= 7
        taken += batch
    assert time.monotonic() - started < 20, "no poll waited for its whole time"
    assert consumer.poll(7, 0) == []
    for partition in range(4):
        assert [record.offset for record in taken if record.partition == partition] == list(range(10))


def test_the_next_member_goes_on_from_what_was_committed(kafka: Kafka, topic: str, members: Members) -> None:
    send(kafka.address, topic, 8)
    first = members(kafka.address, Told(), topic)
    poll_until(first, 8)
    first.commit({(topic, 0): 1, (topic, 1): 2}, wait=True)
    first.commit({(topic, 2): 2}, wait=False)
    first.commit({}, wait=True)
    first.close()
    first.close()
    second = members(kafka.address, Told(), topic)
    assert sorted((each.partition, each.offset) for each in poll_until(second, 3)) == [(0, 1), (3, 0), (3, 1)]


def test_a_rebalance_is_cooperative_and_told(kafka: Kafka, topic: str, members: Members) -> None:
    told = Told(), Told()
    first = members(kafka.address, told[0], topic)
    settle({first: 4})
    second = members(kafka.address, told[1], topic)
    settle({first: 2, second: 2})
    everything = [(topic, partition) for partition in range(4)]
    (moved,) = [places for kind, places in told[0].told if kind == "revoked" and places]
    assert told[0].told[0] == ("assigned", everything)
    assert len(moved) == 2, "only what the second member gets is taken from the first"
    assert first.assignment() == set(everything) - set(moved)
    assert [places for kind, places in told[1].told if kind == "assigned" and places] == [moved]
    second.close()
    settle({first: 4})
    assert {kind for kind, _ in told[0].told} == {"assigned", "revoked"}


def test_what_a_member_did_is_committed_before_its_partition_goes(kafka: Kafka, topic: str, members: Members) -> None:
    class Committing(Told):
        def __init__(self) -> None:
            super().__init__()
            self.committed: list[TopicPartition] = []

        def revoked(self, partitions: Iterable[TopicPartition], *, lost: bool) -> None:
            gone = list(partitions)
            super().revoked(gone, lost=lost)
            if gone and not self.committed:
                first.commit(dict.fromkeys(gone, 2), wait=True)
                self.committed += gone

    send(kafka.address, topic, 8)
    told = Committing()
    first = members(kafka.address, told, topic)
    poll_until(first, 8)
    second = members(kafka.address, Told(), topic)
    settle({first: 2, second: 2})  # which fails when a record comes again
    assert second.assignment() == set(told.committed)


def test_a_subscription_can_be_replaced_while_records_come(
    kafka: Kafka, topic: str, members: Members, namespace: str
) -> None:
    other = f"{namespace}.other"
    make_topics(kafka.address, {other: 2})
    told = Told()
    consumer = members(kafka.address, told, topic)
    settle({consumer: 4})
    consumer.subscribe([topic, other])
    settle({consumer: 6})
    assert all(kind == "assigned" or not places for kind, places in told.told), "nothing was taken away for it"
    consumer.subscribe([other])
    settle({consumer: 2})
    assert consumer.assignment() == {(other, 0), (other, 1)}
    send(kafka.address, other, 4, partitions=2)
    assert len(poll_until(consumer, 4)) == 4


def test_a_member_that_is_kept_alive_keeps_its_partitions_and_loses_no_record(
    kafka: Kafka, topic: str, members: Members
) -> None:
    send(kafka.address, topic, 400)
    told = Told()
    consumer = members(kafka.address, told, topic)
    taken = poll_until(consumer, 1)
    predicting = time.monotonic() + 2 * SESSION["max.poll.interval.ms"] / 1000
    send(kafka.address, topic, 400, first=400)

    def predicted() -> bool:
        consumer.keep_alive()
        return time.monotonic() > predicting

    wait_until(predicted, 10, "the long predict ends")
    assert [kind for kind, _ in told.told] == ["assigned"]
    taken += poll_until(consumer, 800 - len(taken))
    assert sorted(int(record.value or b"") for record in taken) == list(range(800))
    for partition in range(4):
        assert [record.offset for record in taken if record.partition == partition] == list(range(200))


def test_a_member_that_is_kept_alive_serves_rebalances(kafka: Kafka, topic: str, members: Members) -> None:
    send(kafka.address, topic, 8)
    first = members(kafka.address, Told(), topic)
    assert len(poll_until(first, 8)) == 8
    first.commit(dict.fromkeys([(topic, partition) for partition in range(4)], 2), wait=True)
    second = members(kafka.address, Told(), topic)

    def shared() -> bool:
        first.keep_alive()
        assert second.poll(1, 0.05) == []
        return len(first.assignment()) == len(second.assignment()) == 2

    wait_until(shared, 20, "the second member has its share while the first predicts")
    second.close()

    def returned() -> bool:
        first.keep_alive()
        return len(first.assignment()) == 4

    wait_until(returned, 20, "the first has everything again, while it predicts")
    send(kafka.address, topic, 8, first=8)
    assert sorted(int(record.value or b"") for record in poll_until(first, 8)) == list(range(8, 16))


def test_a_partition_that_goes_while_its_member_predicts_is_read_when_it_comes_back(
    kafka: Kafka, topic: str, members: Members
) -> None:
    first = members(kafka.address, Told(), topic)
    settle({first: 4})
    second = members(kafka.address, Told(), topic)

    def shared() -> bool:
        first.keep_alive()
        assert second.poll(1, 0.05) == []
        return len(first.assignment()) == len(second.assignment()) == 2

    wait_until(shared, 20, "the second member has its share while the first predicts")
    settle({first: 2, second: 2})
    second.close()
    settle({first: 4})
    send(kafka.address, topic, 8)
    assert {record.partition for record in poll_until(first, 8)} == {0, 1, 2, 3}


def test_a_member_that_was_silent_for_too_long_learns_that_its_partitions_are_lost(
    kafka: Kafka, topic: str, members: Members
) -> None:
    send(kafka.address, topic, 8)
    told = Told()
    silent = members(kafka.address, told, topic)
    poll_until(silent, 8)
    other = members(kafka.address, Told(), topic, **{"max.poll.interval.ms": 60_000})
    assert len(poll_until(other, 8)) == 8
    with pytest.raises(UnavailableError, match="the commit failed"):
        silent.commit({(topic, 0): 2}, wait=True)
    silent.commit({(topic, 0): 1}, wait=False)

    def back() -> bool:
        silent.poll(1, 0.05)
        other.poll(1, 0.05)
        return len(told.gone) == 4 and len(silent.assignment()) == 2

    wait_until(back, 20, lambda: f"the silent member has a share again: {told.told}")
    # A rebalance that was under way may be told before the loss: its commits fail.
    assert sorted(told.gone) == [(topic, partition) for partition in range(4)]
    assert "lost" in [kind for kind, places in told.told if places]
    assert told.failed
    assert told.failed[0][0] == {(topic, 0): 1}


def test_a_topic_that_is_made_later_is_read(kafka: Kafka, members: Members, namespace: str) -> None:
    told = Told()
    consumer = members(kafka.address, told, namespace)
    for _ in range(5):
        assert consumer.poll(10, 0.05) == []
    make_topics(kafka.address, {namespace: 1})
    send(kafka.address, namespace, 1, partitions=1)
    assert [record.value for record in poll_until(consumer, 1)] == [b"0"]


def test_a_broker_that_stops_for_a_while_costs_no_record_and_raises_nothing(
    fragile_kafka: Kafka, members: Members, namespace: str
) -> None:
    make_topics(fragile_kafka.address, {namespace: 4})
    send(fragile_kafka.address, namespace, 8)
    told = Told()
    consumer = members(fragile_kafka.address, told, namespace, **{"max.poll.interval.ms": 60_000})
    assert len(poll_until(consumer, 8)) == 8
    fragile_kafka.stop()
    wait_until(lambda: consumer.poll(10, 0.05) == [] and told.errors, 10, "the absence is noticed")
    consumer.commit({(namespace, 0): 2}, wait=False)
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="the commit failed"):
        consumer.commit({(namespace, 1): 2}, wait=True)
    assert time.monotonic() - started < 30, "a shutdown is not held up"
    fragile_kafka.start()
    send(fragile_kafka.address, namespace, 8, first=8)
    taken = {record.value for record in poll_until(consumer, 8, timeout_s=40)}
    assert taken >= {str(number).encode() for number in range(8, 16)}


def test_partitions_that_were_lost_during_a_long_predict_are_read_again_when_they_come_back(
    fragile_kafka: Kafka, members: Members, namespace: str
) -> None:
    make_topics(fragile_kafka.address, {namespace: 2})
    member = members(fragile_kafka.address, Told(), namespace)
    send(fragile_kafka.address, namespace, 2, partitions=2)
    assert len(poll_until(member, 2)) == 2
    fragile_kafka.stop()

    def lost() -> bool:
        member.keep_alive()
        return not member.assignment()

    wait_until(lost, 20, "the partitions are lost while predict runs")
    assert member.poll(100, 0) == []  # predict has ended; there is nothing to resume yet
    fragile_kafka.start()
    settle({member: 2})
    send(fragile_kafka.address, namespace, 6, partitions=2, first=2)
    taken = {int(record.value or b"") for record in poll_until(member, 6)}
    assert taken >= set(range(2, 8))


def test_a_consumer_connects_with_its_first_subscription() -> None:
    consumer = KafkaConsumer({"bootstrap.servers": "no-such-host.invalid:1"}, "g", RecordingListener())
    assert consumer.assignment() == frozenset()
    consumer.close()
