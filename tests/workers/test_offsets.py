from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from skysail.workers.offsets import OffsetTracker

KEYS = [("a", 0), ("a", 1), ("b", 0)]
keys = st.sampled_from(KEYS)


class OffsetTrackerMachine(RuleBasedStateMachine):
    """Against lists: of each partition every offset begun, and which are done."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = OffsetTracker()
        self.begun: dict[tuple[str, int], list[int]] = {}
        self.done: dict[tuple[str, int], set[int]] = {}
        self.committed: dict[tuple[str, int], int] = {}

    def low_water_mark(self, key: tuple[str, int]) -> int | None:
        mark = None
        for offset in self.begun[key]:
            if offset not in self.done[key]:
                break
            mark = offset + 1
        return mark

    @rule(key=keys, gap=st.integers(1, 4))
    def begin(self, key: tuple[str, int], gap: int) -> None:
        begun = self.begun.setdefault(key, [])
        self.done.setdefault(key, set())
        offset = (begun[-1] if begun else 99) + gap
        self.tracker.begin(*key, offset)
        begun.append(offset)

    @rule(key=keys, choice=st.integers(0, 30))
    def finish_any(self, key: tuple[str, int], choice: int) -> None:
        still_open = [offset for offset in self.begun.get(key, []) if offset not in self.done[key]]
        if still_open:
            offset = still_open[choice % len(still_open)]
            assert self.tracker.done(*key, offset)
            self.done[key].add(offset)

    @rule(key=keys)
    def finish_again_or_what_never_began(self, key: tuple[str, int]) -> None:
        for offset in [*self.done.get(key, set()), 10**9]:
            assert not self.tracker.done(*key, offset)

    @rule(fails=st.booleans())
    def commit(self, *, fails: bool) -> None:
        expected = {}
        for key in self.begun:
            mark = self.low_water_mark(key)
            if mark is not None and mark != self.committed.get(key):
                expected[key] = mark
        given = self.tracker.committable()
        assert given == expected
        if fails:
            self.tracker.give_back(given)
            for key in given:
                self.committed.pop(key, None)
        else:
            self.committed |= given

    @rule(key=keys)
    def revoke(self, key: tuple[str, int]) -> None:
        self.tracker.revoke([key])
        for memory in (self.begun, self.done, self.committed):
            memory.pop(key, None)

    @rule(key=keys, back=st.integers(0, 3))
    def move_back(self, key: tuple[str, int], back: int) -> None:
        begun = self.begun.get(key)
        if begun:
            offset = max(0, begun[-1] - back)
            self.tracker.begin(*key, offset)
            self.begun[key] = [offset]
            self.done[key] = set()
            self.committed.pop(key, None)

    @invariant()
    def the_outstanding_are_counted(self) -> None:
        assert self.tracker.outstanding == sum(len(self.begun[key]) - len(self.done[key]) for key in self.begun)


OffsetTrackerMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestOffsetTrackerAgainstLists = OffsetTrackerMachine.TestCase


def test_a_record_that_is_not_done_holds_back_all_after_it() -> None:
    tracker = OffsetTracker()
    for offset in range(5):
        tracker.begin("t", 0, offset)
    for offset in (4, 3, 1, 0):
        tracker.done("t", 0, offset)
    assert tracker.committable() == {("t", 0): 2}
    tracker.done("t", 0, 2)
    assert tracker.committable() == {("t", 0): 5}
    assert tracker.outstanding == 0


def test_only_what_has_advanced_is_committed() -> None:
    tracker = OffsetTracker()
    tracker.begin("t", 0, 7)
    tracker.begin("t", 1, 7)
    assert tracker.committable() == {}
    tracker.done("t", 1, 7)
    assert tracker.committable() == {("t", 1): 8}
    assert tracker.committable() == {}


def test_gaps_in_the_log_hold_nothing_back() -> None:
    tracker = OffsetTracker()
    for offset in (3, 9, 500):
        tracker.begin("t", 0, offset)
    tracker.done("t", 0, 3)
    tracker.done("t", 0, 9)
    assert tracker.committable() == {("t", 0): 10}
    tracker.done("t", 0, 500)
    assert tracker.committable() == {("t", 0): 501}


def test_what_finishes_after_its_partition_was_revoked_commits_nothing() -> None:
    tracker = OffsetTracker()
    tracker.begin("t", 0, 1)
    tracker.begin("t", 1, 1)
    tracker.revoke([("t", 0), ("never", 3)])
    assert tracker.outstanding == 1
    assert not tracker.done("t", 0, 1)
    assert tracker.committable() == {}


def test_a_commit_that_failed_is_given_again_with_what_came_since() -> None:
    tracker = OffsetTracker()
    tracker.begin("t", 0, 0)
    tracker.begin("t", 0, 1)
    tracker.done("t", 0, 0)
    failed = tracker.committable()
    tracker.give_back(failed)
    assert tracker.committable() == {("t", 0): 1}
    tracker.done("t", 0, 1)
    assert tracker.committable() == {("t", 0): 2}
    tracker.give_back(failed)  # an older commit: the newer one covers it
    assert tracker.committable() == {}


def test_memory_is_bounded_by_the_span_that_is_open() -> None:
    tracker = OffsetTracker()
    for offset in range(10_000):
        tracker.begin("t", 0, offset)
        tracker.done("t", 0, offset)
        if offset % 100 == 99:
            tracker.committable()
    state = tracker._partitions["t", 0]
    assert len(state.begun) == 0
    assert len(state.open) == 0
