from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skysail.workers.batching import AimdBatchSizer, BatchSizer, QuantileBatchSizer
from tests.workers.latency_curves import OBJECTIVE_S, line, misses, noisy, run_full, throughput


def aimd() -> BatchSizer:
    return AimdBatchSizer(OBJECTIVE_S)


def quantile() -> BatchSizer:
    return QuantileBatchSizer(OBJECTIVE_S)


learning = pytest.mark.parametrize("make", [aimd, quantile])

CURVES = [(best, share) for best in (2, 5, 20, 100, 1000, 4000) for share in (0.0, 0.05, 0.3, 0.5, 0.7)]


@learning
@pytest.mark.parametrize(("best", "fixed_share"), CURVES)
def test_from_a_cold_start_the_cap_comes_within_a_tenth_of_the_best_size(
    make: Callable[[], BatchSizer], best: int, fixed_share: float
) -> None:
    sizer = make()
    curve = line(best, fixed_share)
    assert misses(run_full(sizer, curve, 90)) <= 3
    assert 0.9 * best - 1 <= sizer.cap <= best


@learning
@given(st.integers(2, 4000), st.floats(0, 0.7))
@settings(max_examples=40, deadline=None)
def test_on_any_line_the_cap_settles_within_a_tenth_of_the_best_size(
    make: Callable[[], BatchSizer], best: int, fixed_share: float
) -> None:
    sizer = make()
    curve = line(best, fixed_share)
    run_full(sizer, curve, 100)
    done = run_full(sizer, curve, 100)
    best_throughput = best / curve(best)
    assert throughput(done) >= (0.9 - 1.5 / best) * best_throughput
    assert misses(done) <= 3


@learning
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("best", "fixed_share"), [(20, 0.3), (100, 0.05), (1000, 0.05), (1000, 0.5)])
def test_with_noise_the_best_throughput_is_nearly_reached_and_misses_stay_rare(
    make: Callable[[], BatchSizer], best: int, fixed_share: float, seed: int
) -> None:
    sigma = 0.05
    curve = line(best, fixed_share)
    headroom = math.exp(2.33 * sigma)  # the largest size within the objective at the 0.99 quantile is the best
    fits = max(rows for rows in range(1, best + 1) if curve(rows) * headroom < OBJECTIVE_S)
    sizer = make()
    noise = noisy(curve, seed, sigma=sigma)
    start = run_full(sizer, noise, 100)
    assert max(rows for rows, _ in start) >= 0.9 * fits
    done = run_full(sizer, noise, 900)
    assert throughput(done) >= 0.9 * fits / curve(fits)
    assert misses(done) <= 36
    assert sorted(seconds for _, seconds in done)[-9] <= 1.1 * OBJECTIVE_S


@pytest.mark.parametrize("seed", range(5))
def test_aimd_keeps_its_throughput_through_rare_stalls(seed: int) -> None:
    curve = line(1000, 0.05)
    sizer = AimdBatchSizer(OBJECTIVE_S)
    done = run_full(sizer, noisy(curve, seed, sigma=0.03, stalls=0.01), 1000)
    assert sum(rows for rows, _ in done) / sum(curve(rows) for rows, _ in done) >= 0.95 * 1000 / curve(1000)


@learning
@pytest.mark.parametrize("sigma", [0.0, 0.03])
@pytest.mark.parametrize(("best", "fixed_share"), [(20, 0.05), (100, 0.0), (100, 0.2), (1000, 0.05), (1000, 0.3)])
def test_after_the_model_becomes_three_times_slower_the_cap_is_back_within_twenty_batches(
    make: Callable[[], BatchSizer], best: int, fixed_share: float, sigma: float
) -> None:
    sizer = make()
    run_full(sizer, noisy(line(best, fixed_share), 1, sigma=sigma), 300)
    slow = line(best, fixed_share, times=3)
    run_full(sizer, noisy(slow, 2, sigma=sigma), 19)
    assert slow(sizer.cap) < (1 + 2 * sigma) * OBJECTIVE_S
    fits = max((rows for rows in range(1, best) if slow(rows) < OBJECTIVE_S), default=1)
    assert sizer.cap >= fits / 2


@learning
def test_after_the_model_becomes_fast_again_the_cap_comes_back(make: Callable[[], BatchSizer]) -> None:
    sizer = make()
    run_full(sizer, line(1000, 0.05), 200)
    run_full(sizer, line(1000, 0.05, times=3), 60)
    run_full(sizer, line(1000, 0.05), 60)
    assert 900 <= sizer.cap <= 1000


def test_a_cold_first_batch_does_not_end_slow_start_for_good() -> None:
    sizer = AimdBatchSizer(OBJECTIVE_S)
    sizer.observe(1, 100 * OBJECTIVE_S)
    run_full(sizer, line(1000, 0.05), 40)
    assert sizer.cap >= 900


def test_a_model_that_cannot_meet_the_objective_gets_single_rows() -> None:
    sizer = AimdBatchSizer(OBJECTIVE_S, start=64)
    run_full(sizer, lambda rows: 2 * OBJECTIVE_S + 1e-4 * rows, 30)
    assert sizer.cap == 1
