"""Outcomes are handed over however often it takes, or not at all."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ResponseError

from skysail.topics.errors import UnavailableError
from skysail.topics.memory import MemoryBroker
from skysail.topics.names import KeyNames
from skysail.topics.records import Outcome, Query
from skysail.workers.delivery import Delivery
from skysail.workers.finished import Finished
from skysail.workers.outcomes import OutcomeWriter
from skysail.workers.publishing import Publisher
from skysail.workers.stopping import Patience, StopRequest
from tests.workers.samples import TOPIC, FakeStore, query_of, record_of, work_of

AWAY = UnavailableError("the store is away")
KEYS = KeyNames("t")


class Bench:
    """A delivery to a fake store and an in-memory broker; `stop_after` pauses it is asked to stop."""

    def __init__(self, *answers: Any, stop_after: int = 99) -> None:
        self.store = FakeStore(*answers)
        self.broker = MemoryBroker()
        self.stop = StopRequest()
        self._pauses_left = stop_after
        patience = Patience(self.stop, self._pause)
        writer = OutcomeWriter(KEYS, model="m", version="1", worker_id="w", job_ttl_s=60)
        publisher = Publisher(self.broker.producer, patience, ask_s=0)
        self.refusal: str | None = None
        self._delivery = Delivery(writer, self.store, publisher, patience, self._make_topic)

    def _make_topic(self, topic: str) -> str | None:
        if self.refusal is None:
            self.broker.create_topic(topic, 1)
        return self.refusal

    def _pause(self, _: float) -> None:
        self._pauses_left -= 1
        self.stop.requested = self._pauses_left <= 0

    def deliver(self, *queries: Query, bury: bool = False) -> bool:
        finished = Finished()
        for offset, query in enumerate(queries):
            finished.fail(work_of(query, offset), Outcome.MODEL_ERROR, "why")
            if bury:
                finished.bury(record_of(query, offset), "undecodable", "why")
        return self._delivery.deliver(finished)


def waiting(query_id: str = "q") -> Query:
    return query_of(1, query_id, reply_to="redis:c")


def names(commands: list[Any]) -> list[str]:
    return [command[0] for command in commands]


def test_a_batch_is_one_round_trip() -> None:
    bench = Bench()
    assert bench.deliver(waiting("a"), waiting("b"), query_of(1, "job"))
    assert [names(call) for call in bench.store.calls] == [["SET", "XADD", "EXPIRE"]]


def test_nothing_to_store_is_no_round_trip() -> None:
    bench = Bench()
    assert bench.deliver()
    assert not bench.store.calls


def test_a_store_that_is_away_is_tried_until_it_is_back() -> None:
    bench = Bench(AWAY, AWAY, AWAY)
    assert bench.deliver(waiting())
    assert len(bench.store.calls) == 4
    assert len({str(call) for call in bench.store.calls}) == 1


def test_a_stop_while_the_store_is_away_hands_the_batch_back() -> None:
    bench = Bench(*[AWAY] * 50, stop_after=3)
    assert not bench.deliver(waiting())


def test_an_outcome_that_the_store_has_no_room_for_is_tried_again_alone() -> None:
    bench = Bench([None, ResponseError("OOM command not allowed"), 1])
    assert bench.deliver(waiting(), query_of(1, "job"))
    assert [names(call) for call in bench.store.calls] == [["SET", "XADD", "EXPIRE"], ["XADD"]]


def test_a_cached_answer_that_is_refused_holds_nothing_up() -> None:
    bench = Bench([None, ResponseError("wrong number of arguments for 'expire'")])
    assert bench.deliver(waiting())
    assert len(bench.store.calls) == 1


def test_a_reply_stream_of_another_type_is_given_up() -> None:
    bench = Bench([ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), 1])
    assert bench.deliver(waiting())
    assert len(bench.store.calls) == 1


def test_an_answer_is_produced_to_the_topic_that_its_query_names() -> None:
    bench = Bench()
    bench.broker.create_topic("answers", 1)
    assert bench.deliver(query_of(1, "q", reply_to="kafka:answers"))
    (record,) = bench.broker.records("answers")
    assert (record.key, record.value) == (b"q", b"why")
    assert not bench.store.calls


def test_an_answer_whose_topic_does_not_exist_is_kept_as_a_job() -> None:
    bench = Bench()
    assert bench.deliver(query_of(1, "q", reply_to="kafka:nowhere"))
    ((command,),) = bench.store.calls
    assert command[:2] == ("SET", KEYS.job("q"))


def test_a_dead_letter_topic_is_made_when_it_is_missing() -> None:
    bench = Bench()
    assert bench.deliver(waiting(), bury=True)
    (record,) = bench.broker.records(f"{TOPIC}-dlt")
    assert record.key == b"q"


def test_a_dead_letter_that_the_cluster_refuses_does_not_hold_the_partition_up() -> None:
    bench = Bench()
    bench.refusal = "not authorised"
    assert bench.deliver(waiting(), bury=True)
    assert names(bench.store.calls[0]) == ["XADD", "EXPIRE"]


def test_a_dead_letter_waits_for_the_broker() -> None:
    bench = Bench(stop_after=2)
    bench.broker.stop()
    assert not bench.deliver(waiting(), bury=True)
    assert not bench.store.calls
