"""When a batch goes, and how long a poll may wait."""

from __future__ import annotations

import pytest

from skysail.workers.batching import BatchWait, FixedBatchSizer
from skysail.workers.finished import Finished
from skysail.workers.intake import Intake
from skysail.workers.offsets import OffsetTracker
from skysail.workers.pacing import Pacing
from tests.workers.samples import TOPIC, query_of, record_of

START_S = 1000.0


class Bench:
    """A pacing with a cap of four rows, at a moment that the test moves."""

    def __init__(self, wait_ms: float = 0.0) -> None:
        self.now_s = START_S
        self.intake = Intake(OffsetTracker(), crash_limit=3)
        self.intake.assigned = {(TOPIC, 0)}
        self.pacing = Pacing(
            self.intake, FixedBatchSizer(4), BatchWait(wait_ms), lambda: self.now_s, lambda: round(self.now_s * 1000)
        )
        self._offset = 0

    def arrive(self, count: int = 1, deadline_in_ms: int | None = None) -> None:
        deadline_ms = None if deadline_in_ms is None else round(self.now_s * 1000) + deadline_in_ms
        records = [record_of(query_of(deadline_ms=deadline_ms), self._offset + i) for i in range(count)]
        self._offset += count
        self.intake.take(records, round(self.now_s * 1000), round(self.now_s * 1e9), Finished())


def test_an_idle_poll_waits_until_a_record_comes_or_a_commit_is_due() -> None:
    pacing = Bench().pacing
    assert pacing.poll_timeout_s(None) == 0.25
    assert pacing.poll_timeout_s(0.03) == 0.03
    assert pacing.poll_timeout_s(0.0) == 0.0


def test_while_something_is_queued_polls_do_not_wait_and_the_batch_goes() -> None:
    bench = Bench()
    bench.arrive()
    assert bench.pacing.poll_timeout_s(None) == 0.0
    assert bench.pacing.is_due()


def test_delayed_batching_waits_for_the_rest_of_a_batch_from_its_first_query_on() -> None:
    bench = Bench(wait_ms=10)
    bench.arrive()
    assert not bench.pacing.is_due()
    assert bench.pacing.poll_timeout_s(None) == pytest.approx(0.010)
    bench.now_s += 0.006
    bench.arrive()
    assert bench.pacing.poll_timeout_s(None) == pytest.approx(0.004)
    bench.now_s += 0.0041
    assert bench.pacing.is_due()


def test_a_full_batch_does_not_wait() -> None:
    bench = Bench(wait_ms=10)
    bench.arrive(4)
    assert bench.pacing.is_due()
    assert bench.pacing.poll_timeout_s(None) == 0.0


def test_no_query_waits_past_the_moment_from_which_it_would_be_late() -> None:
    bench = Bench(wait_ms=10)
    bench.pacing.observe(4, 0.003)
    bench.arrive(deadline_in_ms=8)
    assert bench.pacing.poll_timeout_s(None) == pytest.approx(0.005)
    bench.now_s += 0.0051
    assert bench.pacing.is_due()


def test_what_is_left_behind_by_a_batch_waits_anew() -> None:
    bench = Bench(wait_ms=10)
    bench.arrive(5)
    bench.now_s += 0.02
    bench.intake.next_batch(4, round(bench.now_s * 1000), round(bench.now_s * 1e9), Finished())
    assert not bench.pacing.is_due()
    assert bench.pacing.poll_timeout_s(None) == pytest.approx(0.010)


def test_a_suspect_does_not_wait() -> None:
    bench = Bench(wait_ms=10)
    bench.intake.suspect({f"{TOPIC}/0/0": 1})
    bench.arrive()
    assert bench.pacing.is_due()


def test_the_sizer_hears_whether_more_was_waiting() -> None:
    heard: list[bool] = []

    class Listening(FixedBatchSizer):
        __slots__ = ()

        def observe(self, rows: int, duration_s: float, *, left_waiting: bool = False) -> None:
            super().observe(rows, duration_s, left_waiting=left_waiting)
            heard.append(left_waiting)

    bench = Bench()
    pacing = Pacing(bench.intake, Listening(4), BatchWait(0))
    bench.arrive(5)
    for _ in range(2):
        bench.intake.next_batch(4, 0, 0, Finished())
        pacing.batch_begins()
        pacing.observe(4, 0.01)
    assert heard == [True, False]


def test_how_long_a_batch_takes_matters_only_while_others_wait_for_their_turn() -> None:
    bench = Bench()
    bench.pacing.observe(4, 0.0301)
    bench.arrive(4)
    assert bench.pacing.answer_ms == 0
    bench.arrive()
    assert bench.pacing.answer_ms == 31 + 2
