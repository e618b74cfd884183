from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from skysail.workers.deadline_queue import DeadlineQueue

NOW_MS = 1_700_000_000_000
PATIENCE_MS = 1_000


@dataclass(frozen=True)
class Item:
    """What the model of the queue keeps of an item; no order is defined on it."""

    number: int
    rows: int
    deadline_ms: int | None
    due_ms: int

    def is_expired(self, now_ms: int) -> bool:
        return self.deadline_ms is not None and self.deadline_ms <= now_ms


def expected_pop(waiting: list[Item], cap_rows: int, now_ms: int) -> tuple[list[Item], list[Item]]:
    """The rule of the queue in its plainest form: sort, drop what has expired, take while it fits."""
    batch: list[Item] = []
    expired: list[Item] = []
    for item in sorted(waiting, key=lambda item: (item.due_ms, item.number)):
        if sum(taken.rows for taken in batch) >= cap_rows:
            break
        if item.is_expired(now_ms):
            expired.append(item)
        elif batch and sum(taken.rows for taken in batch) + item.rows > cap_rows:
            break
        else:
            batch.append(item)
    return batch, expired


class DeadlineQueueMachine(RuleBasedStateMachine):
    """Pushes, pops and removals in any order, with a clock that also stands still, against a list."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: DeadlineQueue[Item] = DeadlineQueue(PATIENCE_MS)
        self.waiting: list[Item] = []
        self.pushed = 0
        self.out: list[int] = []
        self.now_ms = NOW_MS

    def push(self, rows: int, deadline_ms: int | None) -> None:
        due_ms = self.now_ms + PATIENCE_MS if deadline_ms is None else deadline_ms
        item = Item(self.pushed, rows, deadline_ms, due_ms)
        self.pushed += 1
        self.queue.push(item, rows, deadline_ms, self.now_ms)
        self.waiting.append(item)

    @rule(ms=st.integers(0, 400))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @rule(rows=st.integers(1, 12), in_ms=st.integers(-50, 2000))
    def push_with_deadline(self, rows: int, in_ms: int) -> None:
        self.push(rows, self.now_ms + in_ms)

    @rule(rows=st.lists(st.integers(1, 3), min_size=1, max_size=8))
    def push_several_of_one_objective(self, rows: list[int]) -> None:
        for one in rows:
            self.push(one, self.now_ms + 300)

    @rule(rows=st.integers(1, 12))
    def push_without_deadline(self, rows: int) -> None:
        self.push(rows, None)

    @rule(cap_rows=st.integers(1, 20))
    def pop(self, cap_rows: int) -> None:
        batch, expired = self.queue.pop_batch(cap_rows, self.now_ms)
        assert (batch, expired) == expected_pop(self.waiting, cap_rows, self.now_ms)
        rows = sum(item.rows for item in batch)
        assert rows <= cap_rows or len(batch) == 1
        self.take_out(batch + expired)

    @rule(divisor=st.integers(2, 5))
    def remove(self, divisor: int) -> None:
        removed = self.queue.remove(lambda item: item.number % divisor == 0)
        assert {item.number for item in removed} == {i.number for i in self.waiting if i.number % divisor == 0}
        self.take_out(removed)

    def take_out(self, items: list[Item]) -> None:
        for item in items:
            self.waiting.remove(item)
            self.out.append(item.number)

    @invariant()
    def nothing_is_lost_or_repeated(self) -> None:
        assert sorted(self.out + [item.number for item in self.waiting]) == list(range(self.pushed))

    @invariant()
    def the_counts_are_right(self) -> None:
        assert len(self.queue) == len(self.waiting)
        assert self.queue.rows == sum(item.rows for item in self.waiting)

    def teardown(self) -> None:
        left = self.queue.remove(lambda _: True)
        assert sorted(item.number for item in left) == sorted(item.number for item in self.waiting)
        assert (len(self.queue), self.queue.rows) == (0, 0)


DeadlineQueueMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestDeadlineQueueAgainstAList = DeadlineQueueMachine.TestCase


def pushed(*items: tuple[str, int, int | None]) -> DeadlineQueue[str]:
    """A queue of (name, rows, milliseconds to the deadline)."""
    queue: DeadlineQueue[str] = DeadlineQueue()
    for name, rows, in_ms in items:
        queue.push(name, rows, None if in_ms is None else NOW_MS + in_ms, NOW_MS)
    return queue


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 30), st.sampled_from([None, 500]))
@settings(deadline=None)
def test_of_equal_deadlines_the_first_come_leaves_first_and_no_batch_is_above_the_cap(
    sizes: list[int], cap_rows: int, in_ms: int | None
) -> None:
    queue = pushed(*((str(number), rows, in_ms) for number, rows in enumerate(sizes)))
    order = []
    while len(queue):
        batch, expired = queue.pop_batch(cap_rows, NOW_MS)
        assert expired == []
        assert batch
        assert sum(sizes[int(name)] for name in batch) <= cap_rows or len(batch) == 1
        order += batch
    assert order == [str(number) for number in range(len(sizes))]


def test_the_earliest_deadline_leaves_first() -> None:
    queue = pushed(("late", 1, 900), ("early", 1, 100), ("middle", 1, 500))
    assert queue.pop_batch(10, NOW_MS) == (["early", "middle", "late"], [])


def test_items_without_a_deadline_come_last_but_before_those_that_came_after_their_patience() -> None:
    queue: DeadlineQueue[str] = DeadlineQueue(patience_ms=1000)
    queue.push("none", 1, None, NOW_MS)
    queue.push("soon", 1, NOW_MS + 500, NOW_MS)
    assert queue.pop_batch(1, NOW_MS)[0] == ["soon"]
    taken = []
    for passed_ms in range(0, 1000, 100):  # never idle: new work with a nearer deadline comes again and again
        queue.push(f"after {passed_ms}", 1, NOW_MS + passed_ms + 500, NOW_MS + passed_ms)
        taken += queue.pop_batch(1, NOW_MS + passed_ms)[0]
    assert taken == [*(f"after {passed_ms}" for passed_ms in range(0, 500, 100)), "none", *taken[6:]]


def test_an_item_without_a_deadline_never_expires() -> None:
    queue = pushed(("none", 1, None))
    assert queue.pop_batch(1, NOW_MS + 10**9) == (["none"], [])


def test_expired_items_are_given_back_apart_and_take_no_room_in_the_batch() -> None:
    queue = pushed(("a", 5, 10), ("b", 5, 20), ("c", 2, 21), ("d", 2, None))
    assert queue.pop_batch(4, NOW_MS + 20) == (["c", "d"], ["a", "b"])


def test_a_pop_of_only_expired_items_gives_no_batch() -> None:
    queue = pushed(("a", 1, 10), ("b", 1, 10))
    assert queue.pop_batch(1, NOW_MS + 10) == ([], ["a", "b"])


def test_an_item_larger_than_the_cap_goes_alone() -> None:
    queue = pushed(("small", 1, 1), ("huge", 100, 2), ("last", 1, 3))
    assert [queue.pop_batch(8, NOW_MS)[0] for _ in range(3)] == [["small"], ["huge"], ["last"]]


def test_an_item_that_does_not_fit_is_not_overtaken_by_a_smaller_one() -> None:
    queue = pushed(("a", 5, 1), ("b", 5, 2), ("c", 1, 3))
    assert [queue.pop_batch(8, NOW_MS)[0] for _ in range(2)] == [["a"], ["b", "c"]]


def test_items_that_cannot_be_compared_may_have_the_same_deadline() -> None:
    queue: DeadlineQueue[object] = DeadlineQueue()
    items = [object() for _ in range(50)]
    for item in items:
        queue.push(item, 1, NOW_MS + 7, NOW_MS)
    queue.push(early := object(), 1, NOW_MS + 3, NOW_MS)
    queue.push(early_too := object(), 1, NOW_MS + 3, NOW_MS)
    assert queue.pop_batch(100, NOW_MS)[0] == [early, early_too, *items]


def test_an_empty_queue_gives_an_empty_batch() -> None:
    assert DeadlineQueue[str]().pop_batch(5, NOW_MS) == ([], [])


def test_rows_and_cap_must_be_positive() -> None:
    queue: DeadlineQueue[str] = DeadlineQueue()
    with pytest.raises(ValueError, match="rows must be at least 1; it is 0"):
        queue.push("a", 0, None, NOW_MS)
    with pytest.raises(ValueError, match="cap_rows must be at least 1; it is 0"):
        queue.pop_batch(0, NOW_MS)
    with pytest.raises(ValueError, match="patience_ms must be at least 0"):
        DeadlineQueue[str](patience_ms=-1)
    assert len(queue) == 0
