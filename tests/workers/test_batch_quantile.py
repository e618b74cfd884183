from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skysail.workers.batch_quantile import LatencyWindow, QuantileBatchSizer, median_line
from tests.workers.latency_curves import OBJECTIVE_S, line, noisy, run_full


@given(st.floats(1e-6, 1e-2), st.floats(0, 1), st.lists(st.integers(1, 4000), min_size=2, unique=True))
@settings(deadline=None)
def test_the_median_line_goes_through_points_on_a_line(alpha: float, beta: float, sizes: list[int]) -> None:
    rows = np.array(sizes, dtype=np.float64)
    found = median_line(rows, alpha * rows + beta)
    assert found[0] * rows + found[1] == pytest.approx(alpha * rows + beta, rel=1e-3)


def test_the_median_line_is_not_moved_by_stalls() -> None:
    rng = random.Random(3)
    rows = np.array([float(rng.randint(1, 500)) for _ in range(300)])
    seconds = (1e-5 * rows + 2e-3) * np.array([rng.uniform(5, 50) if rng.random() < 0.1 else 1.0 for _ in rows])
    assert median_line(rows, seconds) == pytest.approx((1e-5, 2e-3), rel=0.02)


@pytest.mark.parametrize("seconds", [[3.0, 2.0, 1.0], [2.0, 2.0, 2.0]])
def test_a_line_that_does_not_rise_is_level(seconds: list[float]) -> None:
    assert median_line(np.array([1.0, 2.0, 3.0]), np.array(seconds)) == (0.0, 2.0)


def test_a_line_that_would_start_below_zero_starts_at_zero() -> None:
    assert median_line(np.array([10.0, 20.0, 30.0]), np.array([1.0, 4.0, 9.0])) == pytest.approx((0.2, 0.0))


def filled(count: int, size: int = 512) -> LatencyWindow:
    window = LatencyWindow(size)
    for rows in range(1, count + 1):
        window.add(rows, 1e-4 * rows + 1e-3)
    return window


def test_the_rows_within_an_objective_lie_on_the_line() -> None:
    assert filled(100).rows_within(0.01, 0.99) == pytest.approx(90, rel=0.01)


def test_the_line_is_not_trusted_beyond_twice_the_largest_size_seen() -> None:
    assert filled(10).rows_within(1.0, 0.99) == 20


def test_one_stall_among_64_does_not_set_the_99th_percentile() -> None:
    window = filled(63)
    window.add(40, 1.0)
    assert window.rows_within(0.005, 0.99) == pytest.approx(40, rel=0.01)


def test_two_stalls_in_a_hundred_do_set_the_99th_percentile() -> None:
    window = filled(98)
    for _ in range(2):
        window.add(40, 0.01)
    assert window.rows_within(0.01, 0.99) == pytest.approx((0.01 / 2 - 1e-3) / 1e-4, rel=0.05)


def test_under_steady_full_load_the_line_keeps_its_shape_and_learns_its_height() -> None:
    window = filled(100, size=128)
    window.rows_within(0.01, 0.99)
    rng = random.Random(1)
    for _ in range(200):
        window.add(90, 2 * (1e-4 * 90 + 1e-3) * rng.uniform(0.99, 1.0))
    assert window.rows_within(0.01, 0.99) == pytest.approx(40, rel=0.05)


def test_the_oldest_batches_are_forgotten() -> None:
    window = filled(100, size=50)
    assert window.seen == 100
    for rows in range(1, 51):
        window.add(rows, 2e-4 * rows)
    assert window.rows_within(0.005, 0.99) == pytest.approx(25, rel=0.01)


def test_the_quantile_sizer_learns_the_line() -> None:
    sizer = QuantileBatchSizer(OBJECTIVE_S)
    assert sizer.line is None
    run_full(sizer, noisy(lambda rows: 2e-5 * rows + 4e-3, 7, sigma=0.02), 400)
    assert sizer.line is not None
    alpha, beta = sizer.line
    assert alpha == pytest.approx(2e-5, rel=0.1)
    assert beta == pytest.approx(4e-3, rel=0.1)


def test_the_quantile_sizer_refits_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    refits = 0
    refit = QuantileBatchSizer._refit

    def counted(sizer: QuantileBatchSizer) -> None:
        nonlocal refits
        refits += 1
        refit(sizer)

    monkeypatch.setattr(QuantileBatchSizer, "_refit", counted)
    run_full(QuantileBatchSizer(OBJECTIVE_S), noisy(line(100, 0.3), 1, sigma=0.01), 64 + 32 * 10)
    assert refits == 11


def test_a_model_that_becomes_three_times_faster_is_explored_again() -> None:
    sizer = QuantileBatchSizer(OBJECTIVE_S)
    run_full(sizer, line(300, 0.05), 300)
    assert sizer.cap >= 270
    run_full(sizer, line(1000, 0.05), 30)
    assert 900 <= sizer.cap <= 1000
