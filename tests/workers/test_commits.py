"""Offsets are committed after outcomes, now and then, and before a partition goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skysail.topics.broker import TopicPartition
from skysail.topics.errors import UnavailableError
from skysail.workers.assignment import Assignment
from skysail.workers.commits import Committer
from skysail.workers.finished import Finished
from skysail.workers.intake import Intake
from skysail.workers.offsets import OffsetTracker
from skysail.workers.stats import WorkerStats
from tests.workers.samples import TOPIC, query_of, record_of


class CommitLog:
    """A consumer that only commits."""

    def __init__(self) -> None:
        self.commits: list[tuple[dict[TopicPartition, int], bool]] = []
        self.broken = False

    def commit(self, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:
        if self.broken:
            message = "away"
            raise UnavailableError(message)
        self.commits.append((dict(offsets), wait))

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


class Bench:
    def __init__(self) -> None:
        self.now_s = 100.0
        self.tracker = OffsetTracker()
        self.committer = Committer(self.tracker, 0.1, lambda: self.now_s)
        self.consumer: Any = CommitLog()
        self.intake = Intake(self.tracker, crash_limit=3)
        self.gained = self.settled = 0
        self.stats = WorkerStats()
        self.assignment = Assignment(
            TOPIC, self.intake, self.committer, self.stats, on_gained=self._gain, on_settled=self._settle
        )
        self.assignment.consumer = self.consumer

    def _gain(self) -> None:
        self.gained += 1

    def _settle(self) -> None:
        self.settled += 1

    def finish(self, *offsets: int, partition: int = 0) -> None:
        self.committer.done([record_of(query_of(), offset, partition=partition) for offset in offsets])

    def begin(self, *offsets: int, partition: int = 0) -> None:
        for offset in offsets:
            self.tracker.begin(TOPIC, partition, offset)


def test_nothing_is_committed_before_it_is_due_and_then_in_the_background() -> None:
    bench = Bench()
    bench.begin(0, 1, 2, 3)
    bench.finish(0)
    bench.committer.commit_if_due(bench.consumer)
    bench.finish(1)
    bench.now_s += 0.05
    bench.committer.commit_if_due(bench.consumer)
    assert bench.consumer.commits == [({(TOPIC, 0): 1}, False)]
    assert bench.committer.seconds_until_due() is not None
    bench.now_s += 0.06
    bench.committer.commit_if_due(bench.consumer)
    assert bench.consumer.commits[1:] == [({(TOPIC, 0): 2}, False)]
    assert bench.committer.seconds_until_due() is None


def test_a_record_that_is_still_running_holds_back_those_behind_it() -> None:
    bench = Bench()
    bench.begin(0, 1, 2)
    bench.finish(2)
    bench.committer.commit_now(bench.consumer)
    assert bench.consumer.commits == []
    bench.finish(0, 1)
    bench.committer.commit_now(bench.consumer)
    assert bench.consumer.commits == [({(TOPIC, 0): 3}, True)]


def test_a_commit_that_failed_is_tried_again() -> None:
    bench = Bench()
    bench.begin(0)
    bench.finish(0)
    bench.consumer.broken = True
    bench.committer.commit_if_due(bench.consumer)
    bench.consumer.broken = False
    bench.now_s += 1
    bench.committer.commit_if_due(bench.consumer)
    assert bench.consumer.commits == [({(TOPIC, 0): 1}, False)]


def test_a_commit_that_failed_in_the_background_is_tried_again() -> None:
    bench = Bench()
    bench.begin(0)
    bench.finish(0)
    bench.committer.commit_if_due(bench.consumer)
    bench.committer.failed({(TOPIC, 0): 1}, "the coordinator has moved")
    bench.now_s += 1
    bench.committer.commit_if_due(bench.consumer)
    assert [offsets for offsets, _ in bench.consumer.commits] == [{(TOPIC, 0): 1}] * 2


def test_what_is_done_is_committed_before_its_partition_goes_and_what_is_queued_is_dropped() -> None:
    bench = Bench()
    bench.assignment.assigned([(TOPIC, 0), (TOPIC, 1)])
    both = [record_of(query_of(), offset, partition=partition) for partition in (0, 1) for offset in (0, 1)]
    bench.intake.take(both, 0, 0, Finished())
    bench.finish(0, partition=0)
    bench.assignment.revoked([(TOPIC, 0)], lost=False)
    assert bench.consumer.commits == [({(TOPIC, 0): 1}, True)]
    assert len(bench.intake) == 2
    assert bench.stats.partitions == (1,)


def test_a_batch_that_ran_while_its_partition_went_commits_nothing() -> None:
    bench = Bench()
    bench.assignment.assigned([(TOPIC, 0)])
    bench.begin(0)
    bench.assignment.revoked([(TOPIC, 0)], lost=False)
    bench.finish(0)
    bench.committer.commit_now(bench.consumer)
    assert bench.consumer.commits == []


def test_nothing_is_committed_for_a_partition_that_is_lost_already() -> None:
    bench = Bench()
    bench.assignment.assigned([(TOPIC, 0)])
    bench.begin(0)
    bench.finish(0)
    bench.assignment.revoked([(TOPIC, 0)], lost=True)
    bench.committer.commit_now(bench.consumer)
    assert bench.consumer.commits == []


def test_a_revoke_survives_a_commit_that_fails() -> None:
    bench = Bench()
    bench.assignment.assigned([(TOPIC, 0)])
    bench.begin(0)
    bench.finish(0)
    bench.consumer.broken = True
    bench.assignment.revoked([(TOPIC, 0)], lost=False)
    assert not bench.intake.assigned


def test_an_empty_assignment_settles_the_group_and_puts_nothing_in_doubt() -> None:
    bench = Bench()
    bench.assignment.assigned([])
    assert (bench.gained, bench.settled) == (0, 1)
    bench.assignment.assigned([(TOPIC, 3), ("skysail.t.models.m.queries", 0)])
    assert (bench.gained, bench.settled) == (1, 2)
    assert bench.stats.partitions == (3,)
