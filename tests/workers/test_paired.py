from collections.abc import Mapping

from skysail.topics.broker import TopicPartition
from skysail.topics.records import ConsumedRecord
from skysail.workers.paired import PairedConsumer

OWN, SHARED = "version", "model"


def record(topic: str, offset: int) -> ConsumedRecord:
    return ConsumedRecord(topic, 0, offset, b"1")


class Scripted:
    """A consumer of one topic that holds what it is given, and notes how it is used."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.waiting: list[ConsumedRecord] = []
        self.events: list[object] = []
        self.waits: list[float] = []

    def subscribe(self, topics: list[str]) -> None:
        self.events.append(("subscribe", topics))

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumedRecord]:
        self.waits.append(timeout_s)
        taken, self.waiting = self.waiting[:max_records], self.waiting[max_records:]
        return taken

    def keep_alive(self) -> None:
        self.events.append("keep_alive")

    def commit(self, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:
        self.events.append(("commit", dict(offsets), wait))

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset({(self.topic, 0)})

    def close(self) -> None:
        self.events.append("close")


class Pair:
    def __init__(self) -> None:
        self.own = Scripted(OWN)
        self.shared: list[Scripted] = []
        self.now_s = 0.0
        self.consumer = PairedConsumer(self.own, SHARED, self.make, self.clock)

    def make(self) -> Scripted:
        self.shared.append(Scripted(SHARED))
        return self.shared[-1]

    def clock(self) -> float:
        self.now_s += 0.01
        return self.now_s


def test_a_version_that_is_not_current_reads_its_own_topic_alone_and_waits_the_whole_time() -> None:
    pair = Pair()
    pair.consumer.subscribe([OWN])
    assert pair.consumer.poll(10, 0.25) == []
    assert (pair.own.waits, pair.shared) == ([0.25], [])


def test_a_promotion_leaves_the_versions_own_group_alone() -> None:
    pair = Pair()
    pair.consumer.subscribe([OWN])
    pair.consumer.subscribe([OWN, SHARED])
    pair.consumer.subscribe([OWN])
    assert pair.own.events == [("subscribe", [OWN])]
    assert pair.shared[0].events == [("subscribe", [SHARED]), "close"]
    pair.consumer.subscribe([OWN, SHARED])
    assert len(pair.shared) == 2


def test_records_of_both_topics_come_in_one_poll_and_never_more_than_asked_for() -> None:
    pair = Pair()
    pair.consumer.subscribe([OWN, SHARED])
    pair.own.waiting = [record(OWN, offset) for offset in range(3)]
    pair.shared[0].waiting = [record(SHARED, offset) for offset in range(3)]
    first, second = pair.consumer.poll(4, 1.0), pair.consumer.poll(4, 1.0)
    assert (len(first), len(second)) == (4, 2)
    assert {one.topic for one in first} == {OWN, SHARED}


def test_it_waits_on_the_topic_that_spoke_last_and_looks_at_the_other() -> None:
    pair = Pair()
    pair.consumer.subscribe([OWN, SHARED])
    pair.shared[0].waiting = [record(SHARED, 0)]
    assert pair.consumer.poll(10, 0.1) == [record(SHARED, 0)]
    pair.own.waits.clear()
    pair.shared[0].waits.clear()
    assert pair.consumer.poll(10, 0.1) == []
    assert set(pair.own.waits) == {0}
    assert max(pair.shared[0].waits) > 0


def test_a_poll_with_nothing_to_read_ends_at_its_time() -> None:
    pair = Pair()
    pair.consumer.subscribe([OWN, SHARED])
    started_s = pair.now_s
    assert pair.consumer.poll(10, 0.25) == []
    assert 0.25 <= pair.now_s - started_s < 0.35


def test_offsets_are_committed_in_the_group_of_their_topic() -> None:
    pair = Pair()
    pair.consumer.subscribe([OWN, SHARED])
    pair.consumer.commit({(OWN, 0): 5, (SHARED, 1): 7}, wait=True)
    assert pair.own.events[-1] == ("commit", {(OWN, 0): 5}, True)
    assert pair.shared[0].events[-1] == ("commit", {(SHARED, 1): 7}, True)


def test_both_groups_are_kept_alive_known_and_left() -> None:
    pair = Pair()
    pair.consumer.subscribe([OWN, SHARED])
    pair.consumer.keep_alive()
    assert pair.consumer.assignment() == {(OWN, 0), (SHARED, 0)}
    pair.consumer.close()
    assert pair.own.events[-2:] == ["keep_alive", "close"]
    assert pair.shared[0].events[-2:] == ["keep_alive", "close"]


def test_what_is_done_on_the_models_topic_can_be_committed_while_its_group_is_left() -> None:
    pair = Pair()
    pair.consumer.subscribe([OWN, SHARED])
    (shared,) = pair.shared
    leave = shared.close

    def commit_and_leave() -> None:
        pair.consumer.commit({(SHARED, 0): 3}, wait=True)
        leave()

    shared.close = commit_and_leave  # type: ignore[method-assign]
    pair.consumer.subscribe([OWN])
    assert shared.events[-2:] == [("commit", {(SHARED, 0): 3}, True), "close"]
