"""Producing what must not be lost, on a broker that comes and goes."""

from __future__ import annotations

from skysail.topics.memory import MemoryBroker
from skysail.workers.outcomes import Outgoing
from skysail.workers.publishing import Publisher
from skysail.workers.stopping import Patience, StopRequest


def outgoing(topic: str = "answers", key: bytes | None = b"k", value: bytes = b"v") -> Outgoing:
    return Outgoing(topic, value, key, [("h", b"1")])


class Bench:
    """A publisher on an in-memory broker; `naps` run one after the other, one in each pause."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.broker.create_topic("answers", 1)
        self.stop = StopRequest()
        self.now_s = 0.0
        self.naps: list[object] = []
        self.publisher = Publisher(self.broker.producer, Patience(self.stop, self._nap), 0.0, lambda: self.now_s)

    def _nap(self, _: float) -> None:
        if self.naps:
            act = self.naps.pop(0)
            assert callable(act)
            act()

    def values(self, topic: str = "answers") -> list[bytes | None]:
        return [record.value for record in self.broker.records(topic)]


def test_records_are_stored_when_publish_returns() -> None:
    bench = Bench()
    assert bench.publisher.publish([outgoing(value=b"1"), outgoing(value=b"2")]) == []
    assert bench.values() == [b"1", b"2"]


def test_while_the_broker_is_away_it_is_tried_again_until_it_is_back() -> None:
    bench = Bench()
    bench.publisher.publish([outgoing(value=b"0")])
    bench.broker.stop()
    bench.naps = [lambda: None, bench.broker.start]
    assert bench.publisher.publish([outgoing(value=b"1", key=None), outgoing(value=b"2")]) == []
    assert bench.values() == [b"0", b"1", b"2"]


def test_a_topic_that_does_not_exist_is_refused_and_the_others_are_not() -> None:
    bench = Bench()
    nowhere = outgoing("nowhere")
    assert bench.publisher.publish([nowhere, outgoing(value=b"1")]) == [(nowhere, "topic nowhere does not exist")]
    assert bench.values() == [b"1"]


def test_a_missing_topic_is_remembered_for_a_while_only() -> None:
    bench = Bench()
    assert bench.publisher.publish([outgoing("later")])
    bench.broker.create_topic("later", 1)
    assert bench.publisher.publish([outgoing("later")])
    bench.now_s += 11
    assert not bench.publisher.publish([outgoing("later")])
    assert bench.values("later") == [b"v"]


def test_a_topic_that_was_made_meanwhile_can_be_used_at_once() -> None:
    bench = Bench()
    assert bench.publisher.publish([outgoing("later")])
    bench.broker.create_topic("later", 1)
    bench.publisher.forget("later")
    assert not bench.publisher.publish([outgoing("later")])


def test_a_record_that_is_too_large_is_refused() -> None:
    bench = Bench()
    big = outgoing(value=b"x" * (33 * 1024 * 1024))
    refused = bench.publisher.publish([big, outgoing(value=b"1")])
    assert refused is not None
    ((record, reason),) = refused
    assert record is big
    assert "larger than" in reason
    assert bench.values() == [b"1"]


def test_a_stop_ends_the_waiting() -> None:
    bench = Bench()
    bench.broker.stop()

    def request() -> None:
        bench.stop.requested = True

    bench.naps = [request]
    assert bench.publisher.publish([outgoing()]) is None
