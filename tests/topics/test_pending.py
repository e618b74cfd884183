from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from skysail.topics.errors import UnavailableError
from skysail.topics.pending import Answer, Lane, Pending, PendingQueries
from skysail.topics.records import Reply, ReplyBatch


class PendingLaws(RuleBasedStateMachine):
    """Queries of two topics come, are answered, expire, or all fail; the model is a dict."""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.queries = PendingQueries()
        self.lanes = [Lane("a", 3), Lane("b", 1)]
        self.model: dict[str, Pending] = {}
        self.now = 0.0
        self.count = 0

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()

    @rule(lane=st.integers(0, 1), rows=st.integers(1, 5), timeout_ms=st.sampled_from([1, 100, 1000]), key=st.booleans())
    def add(self, lane: int, rows: int, timeout_ms: int, *, key: bool) -> None:
        self.count += 1
        query_id = str(self.count)
        pending = Pending(self.lanes[lane], rows, timeout_ms, self.now + timeout_ms / 1000, self.loop.create_future())
        pending.partition = pending.lane.chooser.take(rows)
        wanted = ("prefix", query_id.encode()) if key else None
        self.queries.add(query_id, pending, wanted)
        self.model[query_id] = pending
        if wanted is not None:
            assert self.queries.find(wanted) is pending

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        query_id = data.draw(st.sampled_from(sorted(self.model)))
        assert self.queries.pop(query_id) is self.model.pop(query_id)
        assert self.queries.pop(query_id) is None
        assert self.queries.find(("prefix", query_id.encode())) is None

    @rule(seconds=st.floats(0, 2))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        due = {query_id for query_id, pending in self.model.items() if pending.deadline <= self.now}
        expired = list(self.queries.pop_expired(self.now))
        assert {id(pending) for pending in expired} == {id(self.model.pop(query_id)) for query_id in due}

    @rule()
    def all_end(self) -> None:
        assert {id(pending) for pending in self.queries.pop_all()} == {id(each) for each in self.model.values()}
        self.model.clear()

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.queries) == len(self.model)
        for lane in self.lanes:
            waiting = [pending for pending in self.model.values() if pending.lane is lane]
            assert lane.in_flight == len(waiting)
            for partition, rows in enumerate(lane.chooser.outstanding):
                assert rows == sum(pending.rows for pending in waiting if pending.partition == partition)


TestPendingLaws = PendingLaws.TestCase


def pending_with(future: asyncio.Future[Answer], *joined: asyncio.Future[Answer]) -> Pending:
    pending = Pending(Lane("t", 1), 1, 1000, 1.0, future)
    pending.joined = list(joined) or None
    return pending


def futures(count: int) -> list[asyncio.Future[Any]]:
    return [asyncio.get_running_loop().create_future() for _ in range(count)]


async def test_everybody_who_joined_gets_the_answer_or_the_error() -> None:
    answer = Answer("ok", b"[1]", tensor=False, version="1", source="model")
    first, second, gone = futures(3)
    gone.cancel()
    pending_with(first, second, gone).resolve(answer)
    assert await first is await second is answer

    first, second, gone = futures(3)
    gone.cancel()
    pending_with(gone, first, second).fail(UnavailableError("away"))
    for future in (first, second):
        with pytest.raises(UnavailableError, match="away"):
            await future


async def test_one_of_the_callers_may_give_up_without_the_others() -> None:
    first, second = futures(2)
    pending = pending_with(first, second)
    first.cancel()
    pending.resolve(Answer("ok", b"[1]", tensor=False, version="1", source="model"))
    assert (await second).outcome == "ok"


def test_an_answer_tells_what_the_worker_measured() -> None:
    reply = Reply("q", "ok", b"[1]", tensor=True, queue_us=7)
    answer = Answer.from_reply(reply, ReplyBatch("w", "3", 16, 900, [reply]))
    assert (answer.outcome, answer.value, answer.tensor, answer.version) == ("ok", b"[1]", True, "3")
    assert (answer.queue_us, answer.predict_us, answer.batch_rows, answer.source) == (7, 900, 16, "model")
