"""Admission, in a simulated system under more load than it can bear."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skysail.topics.admission import Admission

MOST = 4096


@dataclass
class World:
    """Queries arrive at random; a worker takes up to `cap` of them in order, for `batch_s`; frontends admit.

    Attributes:
        answered: seconds that each answered query took.
        refused, late: how many were refused at once, and were given up or answered too late.
    """

    offered_per_s: float
    batch_s: float = 0.02
    cap: int = 8
    timeout_s: float = 0.2
    frontends: int = 1
    patient: bool = True
    slow_from_s: float = math.inf
    seconds: float = 20.0
    answered: list[float] = field(default_factory=list)
    refused: int = 0
    late: int = 0

    def run(self) -> World:
        source = random.Random(1)
        gates = [Admission(MOST) for _ in range(self.frontends)]
        in_flight = [0] * self.frontends
        queue: deque[tuple[float, int, int]] = deque()  # arrived, frontend, ahead
        done: list[tuple[float, int, tuple[float, int, int]]] = []
        free_s, number, now_s = 0.0, 0, 0.0
        while now_s < self.seconds:
            now_s += source.expovariate(self.offered_per_s)
            free_s = self._work(queue, done, free_s, now_s)
            while done and done[0][0] <= now_s:
                at_s, _, (arrived_s, frontend, ahead) = heapq.heappop(done)
                in_flight[frontend] -= 1
                took_s = min(at_s - arrived_s, self.timeout_s)
                gates[frontend].observe(ahead, took_s, self.timeout_s, at_s, answered=took_s < self.timeout_s)
                self._count(arrived_s, took_s)
            frontend = number % self.frontends
            number += 1
            if self.patient or gates[frontend].admits(in_flight[frontend], self.timeout_s):
                queue.append((now_s, frontend, in_flight[frontend]))
                in_flight[frontend] += 1
            elif now_s >= 1.0:
                self.refused += 1
        return self

    def _work(self, queue: deque[tuple[float, int, int]], done: list, free_s: float, now_s: float) -> float:  # type: ignore[type-arg]
        while queue and max(free_s, queue[0][0]) < now_s:
            start_s = max(free_s, queue[0][0])
            batch_s = self.batch_s * (3 if start_s >= self.slow_from_s else 1)
            batch: list[tuple[float, int, int]] = []
            while queue and len(batch) < self.cap and queue[0][0] <= start_s:
                query = queue.popleft()
                over = len(queue) >= self.cap and start_s + batch_s > query[0] + self.timeout_s
                if over:
                    heapq.heappush(done, (max(start_s, query[0] + self.timeout_s), len(done), query))
                else:
                    batch.append(query)
            if batch:
                free_s = start_s + batch_s
                for query in batch:
                    heapq.heappush(done, (free_s, len(done), query))
        return free_s

    def _count(self, arrived_s: float, took_s: float) -> None:
        if arrived_s >= 1.0:
            if took_s < self.timeout_s:
                self.answered.append(took_s)
            else:
                self.late += 1

    @property
    def goodput(self) -> float:
        """Answers in time, as a share of what the worker can do."""
        return len(self.answered) / (self.seconds - 1.0) / (self.cap / self.batch_s)

    @property
    def p99_s(self) -> float:
        return sorted(self.answered)[int(0.99 * len(self.answered))]


@pytest.mark.parametrize("frontends", [1, 3])
@pytest.mark.parametrize("load", [2, 5, 20])
def test_under_more_load_than_it_can_bear_a_system_goes_on_answering_in_time(load: float, frontends: int) -> None:
    world = World(load * 400, patient=False, frontends=frontends).run()
    assert world.goodput >= 0.9
    if load <= 5:  # beyond, what came before the first late answer weighs
        assert world.late <= 0.02 * len(world.answered)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_nothing_is_refused_below_capacity(share: float) -> None:
    assert World(share * 400, patient=False).run().refused == 0


def test_a_worker_that_becomes_slower_is_given_less() -> None:
    world = World(800, patient=False, slow_from_s=10.0).run()
    before = [took_s for took_s in world.answered if took_s]
    assert world.late <= 0.03 * len(before)
    assert len(world.answered) >= 0.85 * (9 * 400 + 10 * 400 / 3)


def test_what_was_learnt_in_bad_times_is_forgotten_in_good_ones() -> None:
    gate = Admission(MOST)
    for number in range(50):
        gate.observe(20, 3.0, 3.0, number * 0.1)
    assert not gate.admits(16, 3.0)
    assert gate.admits(15, 3.0)
    gate.observe(15, 0.01, 3.0, 5.1)
    assert gate.admits(1000, 3.0)
    for number in range(200):
        gate.observe(15, 0.01, 3.0, 6.0 + number)
    assert gate.per_s == math.inf


def test_queries_that_are_given_up_say_that_the_rate_is_less_than_would_have_answered_them() -> None:
    """Otherwise a queue that is just too long for everybody would stay as it is."""
    gate = Admission(MOST)
    for number in range(20):
        gate.observe(120, 0.2, 0.2, number * 0.02, answered=False)
    assert gate.limit(0.2) <= 72 * 0.7


def test_a_query_with_less_time_is_refused_earlier() -> None:
    gate = Admission(MOST)
    gate.observe(100, 0.2, 0.2, 1.0)
    assert gate.limit(0.2) < gate.limit(2.0)
    assert gate.admits(200, 2.0)
    assert not gate.admits(200, 0.2)


@given(
    ahead=st.lists(st.integers(0, 5000), max_size=50),
    took_s=st.floats(0, 100),
    timeout_s=st.floats(0.001, 100),
    most=st.integers(1, 5000),
)
def test_the_limit_is_kept_and_never_stops_everything(
    ahead: list[int], took_s: float, timeout_s: float, most: int
) -> None:
    gate = Admission(most)
    for number, each in enumerate(ahead):
        gate.observe(each, took_s, timeout_s, float(number))
        assert gate.per_s > 0
    assert not gate.admits(most, timeout_s)
    assert gate.admits(min(most, 16) - 1, timeout_s)
    assert gate.limit(timeout_s) <= most
