import heapq
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skysail.workers.returning import BatchCost, ReturnWait

#: A 100-tree forest: 9.3 ms for each call, 0.09 ms for each row.
FOREST = (0.0093, 0.00009)
#: Callers ask again 1 ms after their answer, one each 60 µs: that is what the frontend takes.
DELAY_S, EACH_S = 0.001, 0.00006
SECONDS = 10.0


@dataclass
class World:
    """A worker in simulated time. `waits` are the seconds that it waited with work at hand, for each batch."""

    cost: tuple[float, float]
    patient: bool
    arrivals: list[float]
    callers_return: bool
    policy: ReturnWait = field(default_factory=ReturnWait)
    now_s: float = 0.0
    waiting: int = 0
    sizes: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    _frontend_free_s: float = 0.0

    def run(self) -> "World":
        heapq.heapify(self.arrivals)
        while self.now_s < SECONDS and (self.arrivals or self.waiting):
            self.poll()
            if not self.waiting:
                self.now_s = self.arrivals[0]
                self.poll()
            started_s = self.now_s
            while self.patient and (until_s := self.policy.send_at_s(self.waiting, self.now_s)) > self.now_s:
                self.now_s = min(until_s, self.arrivals[0]) if self.arrivals else until_s
                self.poll()
            self.waits.append(self.now_s - started_s)
            self.predict()
        return self

    def poll(self) -> None:
        came = 0
        while self.arrivals and self.arrivals[0] <= self.now_s:
            heapq.heappop(self.arrivals)
            came += 1
        self.waiting += came
        self.policy.arrived(came, self.now_s)

    def predict(self) -> None:
        self.policy.batch_begins(self.now_s)
        size, self.waiting = self.waiting, 0
        duration_s = self.cost[0] + self.cost[1] * size
        self.now_s += duration_s
        self.sizes.append(size)
        self.policy.cost.observe(size, duration_s)
        self.policy.replied(size, self.now_s)
        if self.callers_return:
            at_s = max(self.now_s + DELAY_S, self._frontend_free_s)
            for _ in range(size):
                at_s += EACH_S
                heapq.heappush(self.arrivals, at_s)
            self._frontend_free_s = at_s

    @property
    def per_s(self) -> float:
        return sum(self.sizes) / self.now_s


def closed_loop(callers: int, *, patient: bool = True, cost: tuple[float, float] = FOREST) -> World:
    return World(cost, patient, [index * EACH_S for index in range(callers)], callers_return=True).run()


def open_loop(per_s: float, *, patient: bool = True) -> World:
    source = random.Random(1)
    times, now_s = [], 0.0
    while now_s < SECONDS:
        now_s += source.expovariate(per_s)
        times.append(now_s)
    return World(FOREST, patient, times, callers_return=False).run()


def test_a_single_callers_query_never_waits() -> None:
    assert max(closed_loop(1).waits) == 0


@pytest.mark.parametrize(("callers", "gain"), [(2, 1.6), (4, 1.6), (8, 1.5), (16, 1.3), (32, 1.1)])
def test_callers_that_ask_again_share_fuller_batches(callers: int, gain: float) -> None:
    assert closed_loop(callers).per_s >= gain * closed_loop(callers, patient=False).per_s


@pytest.mark.parametrize("callers", [64, 128])
def test_many_callers_lose_little_by_it(callers: int) -> None:
    assert closed_loop(callers).per_s >= 0.95 * closed_loop(callers, patient=False).per_s


def test_a_model_without_a_fixed_cost_is_never_waited_for() -> None:
    assert max(closed_loop(32, cost=(0.0002, 0.00001)).waits) == 0


@pytest.mark.parametrize("per_s", [5, 50, 400])
def test_callers_that_do_not_return_are_waited_for_once_in_a_while_only(per_s: float) -> None:
    world = open_loop(per_s)
    assert sum(world.waits) <= 0.05 * SECONDS
    assert world.per_s >= 0.98 * open_loop(per_s, patient=False).per_s


def test_what_came_while_predict_ran_is_no_return() -> None:
    policy = ReturnWait()
    policy.cost.observe(10, 0.01)
    policy.replied(10, 1.0)
    assert policy.drains
    policy.arrived(10, 1.0001)
    assert not policy.drains
    assert policy.send_at_s(10, 1.0001) > 1.0001  # the ten that were answered may still come back


def test_nobody_is_waited_for_out_of_silence() -> None:
    policy = ReturnWait()
    assert policy.send_at_s(1, 5.0) == 5.0
    policy.cost.observe(10, 0.01)
    policy.replied(10, 1.0)
    policy.arrived(0, 1.0)
    policy.arrived(1, 60.0)
    assert policy.send_at_s(1, 60.0) == 60.0


@given(
    fixed_ms=st.floats(0.1, 50),
    row_ms=st.floats(0.001, 5),
    sizes=st.lists(st.integers(1, 500), min_size=2, max_size=30),
)
def test_what_a_batch_costs_is_never_negative_and_never_more_than_it_took(
    fixed_ms: float, row_ms: float, sizes: list[int]
) -> None:
    cost = BatchCost()
    for size in sizes:
        cost.observe(size, (fixed_ms + row_ms * size) / 1000)
    fixed_s, row_s = cost.line
    assert row_s >= 0
    assert 0 <= fixed_s <= (fixed_ms + row_ms * max(sizes)) / 1000 + 1e-9


def test_the_line_is_learnt_from_sizes_that_differ() -> None:
    cost = BatchCost()
    for size in (1, 60, 5, 30, 64, 2, 40):
        cost.observe(size, 0.009 + 0.0001 * size)
    fixed_s, row_s = cost.line
    assert fixed_s == pytest.approx(0.009, rel=0.05)
    assert row_s == pytest.approx(0.0001, rel=0.15)


def test_noise_over_sizes_that_hardly_differ_does_not_pass_for_a_slope() -> None:
    cost = BatchCost()
    for size, duration_s in ((16, 0.010), (17, 0.013), (16, 0.009), (17, 0.012), (16, 0.011)):
        cost.observe(size, duration_s)
    assert cost.line[0] >= 0.008


def test_one_size_alone_is_taken_for_a_fixed_cost() -> None:
    cost = BatchCost()
    assert cost.line == (0.0, 0.0)
    for _ in range(5):
        cost.observe(8, 0.004)
    assert cost.line == pytest.approx((0.004, 0.0))
