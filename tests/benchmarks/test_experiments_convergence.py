from __future__ import annotations

import pytest

from benchmarks.experiments.convergence import AdditiveSizer, simulated
from benchmarks.experiments.simulated import Curve, batches_until_recovered, batches_until_within, simulate
from skysail.workers.batching import AimdBatchSizer, FixedBatchSizer

OBJECTIVE_S = 0.02


def test_the_best_fixed_size_is_the_largest_within_the_objective() -> None:
    curve = Curve(100, 0.2, OBJECTIVE_S)
    assert curve.best_fixed() == 100
    assert curve.mean_s(100) < OBJECTIVE_S < curve.mean_s(101)


def test_noise_makes_the_best_fixed_size_smaller() -> None:
    assert Curve(100, 0.2, OBJECTIVE_S, 0.05).best_fixed() < 100


def test_a_model_that_cannot_meet_the_objective_has_no_best_fixed_size() -> None:
    assert Curve(100, 0.5, OBJECTIVE_S).best_fixed(slower=3) == 0


def test_convergence_counts_the_batch_that_reaches_nine_tenths_of_the_best() -> None:
    assert batches_until_within([1, 2, 4, 9, 10], 10) == 4
    assert batches_until_within([1, 2, 4], 10) is None


def test_recovery_begins_with_the_first_batch_in_time_that_stays_so() -> None:
    late = [True, True, False, True, True, *[False] * 20]
    assert batches_until_recovered(late, allowed=0) == 5
    assert batches_until_recovered([True] * 30) is None


def test_one_late_batch_in_twenty_is_allowed_but_not_the_first() -> None:
    late = [True, False, False, True, *[False] * 20]
    assert batches_until_recovered(late, allowed=1) == 1


def test_a_sizer_that_learns_nothing_neither_converges_nor_recovers() -> None:
    small = simulate(lambda _: FixedBatchSizer(1), Curve(100, 0.2, OBJECTIVE_S), seed=1)
    large = simulate(lambda _: FixedBatchSizer(100), Curve(100, 0.2, OBJECTIVE_S), seed=1)
    assert small.converged is None
    assert (large.converged, large.recovered, large.late_slow) == (1, None, 100)


@pytest.mark.parametrize("sigma", [0.0, 0.05])
def test_aimd_meets_both_targets_and_the_same_seed_gives_the_same_outcome(sigma: float) -> None:
    curve = Curve(100, 0.2, OBJECTIVE_S, sigma)
    outcome = simulate(AimdBatchSizer, curve, seed=1)
    assert outcome == simulate(AimdBatchSizer, curve, seed=1)
    assert outcome.converged is not None
    assert outcome.converged < 100
    assert outcome.recovered is not None
    assert outcome.recovered < 20


def test_the_papers_rule_adds_one_row_and_takes_a_tenth() -> None:
    sizer = AdditiveSizer(OBJECTIVE_S)
    for _ in range(9):
        sizer.observe(sizer.cap, 0.01)
    assert sizer.cap == 10
    sizer.observe(10, OBJECTIVE_S)
    assert sizer.cap == 9


def test_every_sizer_is_simulated_on_every_curve() -> None:
    rows = simulated()
    assert len(rows) == 3 * 9 * 2
    assert {row["sizer"] for row in rows} == {"aimd", "quantile", "the paper's +1, ×0.9"}
