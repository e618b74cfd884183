from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from skysail.topics.broker import RebalanceListener, RecordConsumer, RecordProducer, TopicPartition
from skysail.topics.errors import PayloadTooLargeError, UnavailableError
from skysail.topics.kafka.config import MAX_RECORD_BYTES
from skysail.topics.memory import MemoryBroker, MemoryConsumer
from tests.waiting import wait_until


class Listener:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, list[TopicPartition]]] = []

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        self.told.append(("assigned", list(partitions)))

    def revoked(self, partitions: Iterable[TopicPartition], *, lost: bool) -> None:
        self.told.append(("lost" if lost else "revoked", list(partitions)))


def failures_of(broker: MemoryBroker) -> tuple[RecordProducer, list[tuple[bytes | None, str]]]:
    failures: list[tuple[bytes | None, str]] = []
    return broker.producer(lambda key, reason: failures.append((key, reason))), failures


@pytest.fixture
def broker() -> MemoryBroker:
    broker = MemoryBroker(now_ms=lambda: 1234)
    broker.create_topic("q", 4)
    return broker


def member(broker: MemoryBroker, *topics: str, listener: RebalanceListener | None = None) -> MemoryConsumer:
    consumer = broker.consumer("g", listener or Listener())
    consumer.subscribe(list(topics or ("q",)))
    return consumer


def settle(*consumers: MemoryConsumer) -> None:
    """Each gives up what is not its own any more, then takes what the others gave up."""
    for _ in range(2):
        for consumer in consumers:
            consumer.keep_alive()


def fill(broker: MemoryBroker, count: int, partitions: int = 4) -> None:
    producer, failures = failures_of(broker)
    for number in range(count):
        producer.send("q", number % partitions, str(number).encode(), None, [])
    producer.poll()
    assert failures == []


def test_the_ends_are_what_the_protocols_ask_for(broker: MemoryBroker) -> None:
    producer: RecordProducer = broker.producer(lambda _key, _reason: None)
    consumer: RecordConsumer = broker.consumer("g", Listener())
    assert producer.available
    assert consumer.assignment() == frozenset()


def test_a_record_arrives_as_it_was_sent(broker: MemoryBroker) -> None:
    producer, _ = failures_of(broker)
    consumer = member(broker)
    producer.send("q", 2, b"value", b"key", [("h", b"1"), ("h", b"2")])
    (record,) = consumer.poll(10, 1)
    assert (record.topic, record.partition, record.offset) == ("q", 2, 0)
    assert (record.value, record.key, record.headers) == (b"value", b"key", [("h", b"1"), ("h", b"2")])
    assert record.timestamp_ms == 1234


def test_partitions_keep_their_order_and_none_is_starved(broker: MemoryBroker) -> None:
    fill(broker, 40)
    consumer = member(broker)
    taken = [record for _ in range(10) for record in consumer.poll(4, 1)]
    assert {record.partition for record in taken[:16]} == {0, 1, 2, 3}
    for partition in range(4):
        assert [record.offset for record in taken if record.partition == partition] == list(range(10))
    assert consumer.poll(4, 0) == []


def test_a_poll_takes_no_more_than_it_was_told_to(broker: MemoryBroker) -> None:
    fill(broker, 10)
    consumer = member(broker)
    assert [len(consumer.poll(3, 0)) for _ in range(5)] == [3, 3, 3, 1, 0]


def test_any_partition_means_the_same_one_for_the_same_key_and_all_in_turn_without_one(broker: MemoryBroker) -> None:
    producer, _ = failures_of(broker)
    for _ in range(8):
        producer.send("q", -1, b"keyed", b"k", [])
        producer.send("q", -1, b"free", None, [])
    records = broker.records("q")
    assert len({record.partition for record in records if record.value == b"keyed"}) == 1
    assert len({record.partition for record in records if record.value == b"free"}) == 4


def test_a_poll_waits_for_a_record_from_another_thread(broker: MemoryBroker) -> None:
    consumer = member(broker)
    consumer.keep_alive()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(consumer.poll, 10, 30)
        fill(broker, 1)
        assert [record.value for record in waiting.result(10)] == [b"0"]


def test_a_new_member_goes_on_from_the_committed_offset(broker: MemoryBroker) -> None:
    fill(broker, 8)
    first = member(broker)
    first.poll(100, 1)
    first.commit({("q", 0): 1, ("q", 1): 2}, wait=True)
    first.close()
    assert broker.committed("g") == {("q", 0): 1, ("q", 1): 2}
    assert broker.lag("g", "q") == 5
    taken = [(record.partition, record.offset) for record in member(broker).poll(100, 1)]
    assert sorted(taken) == [(0, 1), (2, 0), (2, 1), (3, 0), (3, 1)]


def test_groups_do_not_share_offsets(broker: MemoryBroker) -> None:
    fill(broker, 4)
    member(broker).poll(100, 1)
    other = broker.consumer("another", Listener())
    other.subscribe(["q"])
    assert len(other.poll(100, 1)) == 4


def test_a_partition_is_given_up_before_its_next_owner_gets_it(broker: MemoryBroker) -> None:
    listeners = Listener(), Listener()
    first = member(broker, listener=listeners[0])
    first.keep_alive()
    second = member(broker, listener=listeners[1])
    second.keep_alive()
    assert (len(first.assignment()), len(second.assignment())) == (4, 0), "the first has not polled yet"
    first.keep_alive()
    second.keep_alive()
    assert (len(first.assignment()), len(second.assignment())) == (2, 2)
    assert [kind for kind, _ in listeners[0].told] == ["assigned", "revoked"]
    assert listeners[1].told == [("assigned", listeners[0].told[1][1])]


def test_the_last_commit_of_a_partition_is_made_while_it_is_revoked(broker: MemoryBroker) -> None:
    fill(broker, 8)

    class Committing(Listener):
        def revoked(self, partitions: Iterable[TopicPartition], *, lost: bool) -> None:
            super().revoked(partitions, lost=lost)
            assert first.assignment() >= set(partitions)
            first.commit(dict.fromkeys(partitions, 2), wait=True)

    first = member(broker, listener=Committing())
    first.poll(100, 1)
    second = member(broker)
    settle(first, second)
    assert second.poll(100, 0) == []
    assert set(broker.committed("g").values()) == {2}


def test_members_with_different_subscriptions_get_what_they_subscribe_to(broker: MemoryBroker) -> None:
    broker.create_topic("v1", 4)
    broker.create_topic("v2", 4)
    first, second = member(broker, "v1", "q"), member(broker, "v2")
    settle(first, second)
    assert {topic for topic, _ in first.assignment()} == {"v1", "q"}
    assert {topic for topic, _ in second.assignment()} == {"v2"}
    # A promotion: the model's own topic is handed over, with its offsets.
    fill(broker, 8)
    first.poll(100, 1)
    first.commit({("q", 0): 2, ("q", 1): 2}, wait=True)
    first.subscribe(["v1"])
    second.subscribe(["v2", "q"])
    settle(first, second)
    assert {topic for topic, _ in first.assignment()} == {"v1"}
    assert {topic for topic, _ in second.assignment()} == {"v2", "q"}
    assert sorted(record.partition for record in second.poll(100, 0)) == [2, 2, 3, 3]


def test_a_topic_that_is_made_later_is_assigned(broker: MemoryBroker) -> None:
    consumer = member(broker, "later")
    assert consumer.poll(1, 0) == []
    broker.create_topic("later", 2)
    consumer.keep_alive()
    assert consumer.assignment() == {("later", 0), ("later", 1)}


def test_a_member_that_is_killed_tells_nobody_and_loses_nothing(broker: MemoryBroker) -> None:
    fill(broker, 8)
    listener = Listener()
    dying, other = member(broker, listener=listener), member(broker)
    settle(dying, other)
    assert len(dying.poll(100, 0)) == 4
    dying.kill()
    assert [kind for kind, _ in listener.told] == ["assigned"]
    assert len(other.poll(100, 0)) == 8
    for use in (lambda: dying.poll(1, 0), lambda: dying.commit({}, wait=False), lambda: dying.subscribe(["q"])):
        with pytest.raises(RuntimeError, match="closed"):
            use()


def test_a_kill_ends_a_poll_that_waits(broker: MemoryBroker) -> None:
    consumer = member(broker)
    consumer.keep_alive()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(consumer.poll, 1, 60)
        consumer.kill()
        with pytest.raises(RuntimeError, match="closed"):
            waiting.result(10)


def test_a_member_that_was_silent_for_too_long_learns_that_its_partitions_are_lost(broker: MemoryBroker) -> None:
    fill(broker, 8)
    listener = Listener()
    silent, other = member(broker, listener=listener), member(broker)
    settle(silent, other)
    mine = sorted(silent.assignment())
    silent.poll(100, 0)
    silent.expel()
    assert len(other.poll(100, 0)) == 8
    with pytest.raises(UnavailableError, match="expelled"):
        silent.commit(dict.fromkeys(mine, 2), wait=True)
    silent.commit(dict.fromkeys(mine, 2), wait=False)
    assert broker.committed("g") == {}
    settle(silent, other, silent)
    assert [kind for kind, _ in listener.told] == ["assigned", "lost", "assigned"]
    assert listener.told[1] == ("lost", mine)
    assert (len(silent.assignment()), len(other.assignment())) == (2, 2)


def test_closing_revokes_and_leaves(broker: MemoryBroker) -> None:
    listener = Listener()
    first, second = member(broker, listener=listener), member(broker)
    settle(first, second)
    first.close()
    first.close()
    assert [kind for kind, _ in listener.told] == ["assigned", "revoked"]
    second.keep_alive()
    assert len(second.assignment()) == 4


def test_a_stopped_broker_stores_nothing_gives_nothing_and_says_so(broker: MemoryBroker) -> None:
    fill(broker, 4)
    consumer = member(broker)
    producer, failures = failures_of(broker)
    consumer.keep_alive()
    broker.stop()
    producer.send("q", 0, b"lost", b"key", [])
    assert failures == []
    producer.poll()
    assert failures == [(b"key", "the broker is away")]
    assert not producer.available
    assert not producer.probe(0.01)
    assert consumer.poll(10, 0.01) == []
    with pytest.raises(UnavailableError, match="away"):
        consumer.commit({("q", 0): 1}, wait=True)
    consumer.commit({("q", 0): 1}, wait=False)
    assert not producer.learn("q", 0.01)
    broker.start()
    assert producer.learn("q", 1)
    assert not producer.learn("nowhere", 1)
    assert producer.probe(1)
    assert producer.available
    assert len(consumer.poll(10, 1)) == 4
    assert broker.committed("g") == {}


def test_a_probe_waits_for_the_broker(broker: MemoryBroker) -> None:
    producer, _ = failures_of(broker)
    broker.stop()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(producer.probe, 30)
        broker.start()
        assert waiting.result(10)


def test_a_record_for_a_partition_that_is_not_there_is_a_failure(broker: MemoryBroker) -> None:
    producer, failures = failures_of(broker)
    producer.send("nowhere", 0, b"", b"a", [])
    producer.send("q", 4, b"", b"b", [])
    assert producer.flush(1) == 0
    assert failures == [(b"a", "there is no nowhere/0"), (b"b", "there is no q/4")]


def test_a_record_that_kafka_would_not_take_is_refused(broker: MemoryBroker) -> None:
    producer, _ = failures_of(broker)
    with pytest.raises(PayloadTooLargeError):
        producer.send("q", 0, bytes(MAX_RECORD_BYTES + 1), None, [])


def test_many_threads_lose_and_repeat_nothing() -> None:
    broker = MemoryBroker()
    broker.create_topic("q", 8)
    stop = threading.Event()

    def produce(number: int) -> None:
        producer = broker.producer(lambda _key, reason: pytest.fail(reason))
        for count in range(500):
            producer.send("q", -1, f"{number}-{count}".encode(), f"{count}".encode(), [])

    def consume(_: int) -> list[bytes]:
        taken: list[bytes] = []
        consumer = member(broker)
        while not stop.is_set():
            records = consumer.poll(7, 0.01)
            taken += [record.value or b"" for record in records]
            consumer.commit({(each.topic, each.partition): each.offset + 1 for each in records}, wait=True)
        consumer.close()
        return taken

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(consume, number) for number in range(4)]
        for writer in [pool.submit(produce, number) for number in range(4)]:
            writer.result(30)
        wait_until(lambda: broker.lag("g", "q") == 0, 30, "everything is committed")
        stop.set()
        taken = sorted(value for reader in readers for value in reader.result(30))
    assert taken == sorted(f"{number}-{count}".encode() for number in range(4) for count in range(500))


class GroupLaws(RuleBasedStateMachine):
    """Members come, go, die and are expelled while records are sent: none is lost, none is committed unseen."""

    @initialize()
    def begin(self) -> None:
        self.broker = MemoryBroker()
        self.broker.create_topic("q", 3)
        self.producer = self.broker.producer(lambda _key, _reason: None)
        self.members: list[MemoryConsumer] = []
        self.sent: list[bytes] = []
        self.seen: set[bytes | None] = set()

    @rule(partition=st.integers(0, 2), count=st.integers(1, 3))
    def send(self, partition: int, count: int) -> None:
        for _ in range(count):
            self.sent.append(str(len(self.sent)).encode())
            self.producer.send("q", partition, self.sent[-1], None, [])

    @precondition(lambda self: len(self.members) < 4)
    @rule()
    def join(self) -> None:
        self.members.append(member(self.broker))

    @precondition(lambda self: self.members)
    @rule(data=st.data(), count=st.integers(1, 5))
    def work(self, data: st.DataObject, count: int) -> None:
        self._work(data.draw(st.sampled_from(self.members)), count)

    @precondition(lambda self: self.members)
    @rule(data=st.data(), way=st.sampled_from(["kill", "close", "expel"]))
    def take_and_go(self, data: st.DataObject, way: str) -> None:
        consumer = data.draw(st.sampled_from(self.members))
        consumer.poll(5, 0)
        getattr(consumer, way)()
        if way != "expel":
            self.members.remove(consumer)

    @invariant()
    def nothing_is_committed_unseen_and_nothing_is_held_twice(self) -> None:
        committed = self.broker.committed("g")
        for record in self.broker.records("q"):
            if record.offset < committed.get((record.topic, record.partition), 0):
                assert record.value in self.seen
        held = [place for each in self.members if not each._expelled for place in each.assignment()]
        assert len(held) == len(set(held))

    def teardown(self) -> None:
        if hasattr(self, "broker"):
            for consumer in self.members:
                consumer.kill()
            self._work(member(self.broker), 1000)
            assert self.seen == set(self.sent)

    def _work(self, consumer: MemoryConsumer, count: int) -> None:
        for record in consumer.poll(count, 0):
            self.seen.add(record.value)
            consumer.commit({(record.topic, record.partition): record.offset + 1}, wait=True)


TestGroupLaws = GroupLaws.TestCase
