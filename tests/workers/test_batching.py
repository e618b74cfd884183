from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skysail.workers.batching import (
    POLICIES,
    AimdBatchSizer,
    BatchSizer,
    BatchWait,
    FixedBatchSizer,
    QuantileBatchSizer,
    make_batch_sizer,
)
from tests.workers.latency_curves import OBJECTIVE_S, line, misses, run_full, throughput

# --- laws that hold for every sizer and every history -----------------------------------------------------------------

batches = st.lists(
    st.tuples(
        st.floats(min_value=0, max_value=1.2),  # how full
        st.floats(min_value=0, max_value=20) | st.sampled_from([0.0, 0.5, 0.9, 1.0]),  # duration over objective
        st.booleans(),
    ),
    max_size=150,
)


@given(st.sampled_from(POLICIES), st.integers(1, 3000), batches)
@settings(max_examples=120, deadline=None)
def test_the_cap_always_lies_between_one_and_the_largest(
    policy: str, max_rows: int, history: list[tuple[float, float, bool]]
) -> None:
    sizer = make_batch_sizer(policy, OBJECTIVE_S, max_rows=max_rows, fixed_rows=max_rows if policy == "fixed" else None)
    for fill, load, left_waiting in history:
        sizer.observe(max(1, round(fill * sizer.cap)), load * OBJECTIVE_S, left_waiting=left_waiting)
        assert 1 <= sizer.cap <= max_rows


@given(st.integers(1, 4000), st.floats(0, 0.95), batches)
@settings(max_examples=120, deadline=None)
def test_aimd_follows_each_batch_in_the_right_direction(
    start: int, load: float, history: list[tuple[float, float, bool]]
) -> None:
    sizer = AimdBatchSizer(OBJECTIVE_S, start=start)
    for fill, load_then, left_waiting in history:
        before = sizer.cap
        rows = max(1, round(min(fill, 1) * before))
        sizer.observe(rows, load_then * OBJECTIVE_S, left_waiting=left_waiting)
        if load_then >= 1:
            assert sizer.cap <= max(1, math.floor(0.9 * rows))
        elif rows < 0.9 * before and not left_waiting:
            assert sizer.cap == before
        else:
            assert sizer.cap >= before
    before = sizer.cap
    sizer.observe(before, load * OBJECTIVE_S)
    assert sizer.cap >= before


def test_a_fixed_size_never_changes() -> None:
    sizer = FixedBatchSizer(32)
    run_full(sizer, line(4, 0.5), 20)
    assert sizer.cap == 32


# --- NSDI's rule ------------------------------------------------------------------------------------------------------


def settled_aimd(start: int, dead_band: float = 0.9) -> AimdBatchSizer:
    """Past slow start, by a batch in the dead band."""
    sizer = AimdBatchSizer(OBJECTIVE_S, start=start, dead_band=dead_band)
    sizer.observe(start, 0.98 * OBJECTIVE_S)
    assert sizer.cap == start
    return sizer


def test_a_full_batch_below_the_dead_band_adds_two_rows() -> None:
    sizer = settled_aimd(100)
    sizer.observe(100, 0.7 * OBJECTIVE_S)
    assert sizer.cap == 102


@pytest.mark.parametrize("load", [0.9, 0.95, 0.999])
def test_a_batch_in_the_dead_band_holds_the_cap(load: float) -> None:
    sizer = settled_aimd(100)
    sizer.observe(100, load * OBJECTIVE_S)
    assert sizer.cap == 100


@pytest.mark.parametrize("load", [1.0, 1.05, 50.0])
def test_a_first_miss_costs_a_tenth_however_gross(load: float) -> None:
    sizer = settled_aimd(100)
    sizer.observe(100, load * OBJECTIVE_S)
    assert sizer.cap == 90


def test_misses_in_a_row_cut_in_proportion_but_never_more_than_half() -> None:
    sizer = settled_aimd(1000)
    sizer.observe(1000, 1.5 * OBJECTIVE_S)
    sizer.observe(900, 1.35 * OBJECTIVE_S)
    assert sizer.cap == int(900 * 0.97 / 1.35)
    rows = sizer.cap
    sizer.observe(rows, 40 * OBJECTIVE_S)
    assert sizer.cap == rows // 2


def test_small_batches_under_light_load_move_the_cap_neither_up_nor_down() -> None:
    sizer = settled_aimd(100)
    for rows in [1, 3, 50, 89] * 100:
        sizer.observe(rows, 0.01 * OBJECTIVE_S)
    assert sizer.cap == 100


def test_a_miss_by_a_small_batch_pulls_the_cap_below_its_size() -> None:
    sizer = settled_aimd(1000)
    sizer.observe(40, 1.01 * OBJECTIVE_S)
    assert sizer.cap == 36


def test_a_small_batchs_miss_that_was_a_stall_is_undone_after_two_full_batches_in_time() -> None:
    sizer = AimdBatchSizer(OBJECTIVE_S, start=500)
    sizer.observe(3, 5 * OBJECTIVE_S)
    assert sizer.cap == 2
    for _ in range(2):
        sizer.observe(sizer.cap, 0.1 * OBJECTIVE_S)
    assert sizer.cap >= 500


def test_two_small_batches_that_miss_one_after_the_other_are_believed() -> None:
    sizer = AimdBatchSizer(OBJECTIVE_S, start=500)
    sizer.observe(30, 2 * OBJECTIVE_S)
    sizer.observe(20, 10 * OBJECTIVE_S)
    assert sizer.cap == 10
    done = run_full(sizer, lambda rows: 0.07 * rows * OBJECTIVE_S, 10)
    assert max(rows for rows, _ in done) < 20
    assert 12 <= sizer.cap <= 14


def test_a_batch_sent_under_an_older_larger_cap_cuts_only_by_what_it_proves() -> None:
    sizer = AimdBatchSizer(OBJECTIVE_S, start=100)
    sizer.observe(1000, 2 * OBJECTIVE_S)  # 100 rows took a tenth of it at least, which is in time
    assert sizer.cap == 100
    sizer.observe(1000, 20 * OBJECTIVE_S)  # 100 rows took twice the objective at least
    assert sizer.cap == 90


def test_a_batch_that_the_next_record_did_not_fit_into_counts_as_full() -> None:
    sizer = AimdBatchSizer(OBJECTIVE_S, start=7)
    sizer.observe(5, 0.1 * OBJECTIVE_S)
    assert sizer.cap == 7
    sizer.observe(5, 0.1 * OBJECTIVE_S, left_waiting=True)
    assert sizer.cap >= 10


def test_a_size_that_missed_is_not_tried_again_for_two_hundred_batches() -> None:
    curve = line(3, 0.0)
    sizer = AimdBatchSizer(OBJECTIVE_S)
    run_full(sizer, curve, 20)
    done = run_full(sizer, curve, 1000)
    assert misses(done) <= 5
    assert {rows for rows, seconds in done if seconds < OBJECTIVE_S} == {3}


def test_a_size_that_missed_is_tried_again_when_the_model_has_become_a_little_faster() -> None:
    sizer = AimdBatchSizer(OBJECTIVE_S)
    run_full(sizer, lambda rows: OBJECTIVE_S * rows / 3.5, 20)
    assert sizer.cap == 3
    run_full(sizer, lambda rows: OBJECTIVE_S * rows / 4.2, 500)
    assert sizer.cap == 4


def test_after_a_lone_stall_the_cap_rises_through_the_dead_band_to_where_it_was() -> None:
    curve = line(1000, 0.5)
    sizer = settled_aimd(1000)
    sizer.observe(1000, 10 * OBJECTIVE_S)
    assert curve(sizer.cap) > 0.9 * OBJECTIVE_S
    assert misses(run_full(sizer, curve, 20)) == 0
    assert sizer.cap == 999


def test_in_the_dead_band_the_cap_creeps_to_the_headroom_that_is_left() -> None:
    curve = line(1000, 0.9)
    sizer = settled_aimd(700)
    assert misses(run_full(sizer, curve, 1000)) == 0
    assert sizer.cap >= 780


def test_a_jump_in_the_latency_is_not_run_into_again_and_again() -> None:
    def curve(rows: int) -> float:
        return OBJECTIVE_S * (rows / 2000 if rows <= 512 else 4 * rows / 2000)

    sizer = AimdBatchSizer(OBJECTIVE_S)
    run_full(sizer, curve, 200)
    done = run_full(sizer, curve, 1000)
    assert misses(done) <= 40
    assert throughput(done) >= 0.85 * 512 / curve(512)


# --- delayed batching -------------------------------------------------------------------------------------------------


def test_by_default_nothing_waits() -> None:
    assert BatchWait().send_at_s(12.5, rows=1, cap=100) == 12.5


def test_a_full_batch_does_not_wait() -> None:
    assert BatchWait(5).send_at_s(12.5, rows=100, cap=100) == 12.5


@given(st.floats(0, 1e6), st.floats(0, 1000), st.lists(st.tuples(st.floats(0, 0.01), st.integers(1, 50)), min_size=1))
@settings(deadline=None)
def test_no_query_waits_past_the_due_time_that_the_first_one_set(
    first_s: float, wait_ms: float, arrivals: list[tuple[float, int]]
) -> None:
    wait = BatchWait(wait_ms)
    rows = 0
    now_s = first_s
    for gap_s, more in arrivals:  # a steady trickle
        now_s += gap_s
        rows += more
        due_s = wait.send_at_s(first_s, rows, cap=300)
        assert first_s <= due_s <= first_s + wait_ms / 1000
        assert (due_s == first_s) or rows < 300


def test_waiting_ends_in_time_for_the_earliest_deadline() -> None:
    assert BatchWait(5).send_at_s(10.0, 1, 100, latest_start_s=10.002) == 10.002
    assert BatchWait(5).send_at_s(10.0, 1, 100, latest_start_s=9.0) == 10.0
    assert BatchWait(5).send_at_s(10.0, 1, 100, latest_start_s=11.0) == pytest.approx(10.005)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "kind"), [("aimd", AimdBatchSizer), ("quantile", QuantileBatchSizer)])
def test_the_policy_names_the_sizer(policy: str, kind: type) -> None:
    assert isinstance(make_batch_sizer(policy, 0.02), kind)


def test_the_fixed_policy_takes_its_size() -> None:
    assert make_batch_sizer("fixed", 0.02, fixed_rows=8).cap == 8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_batch_sizer("nagle", 0.02), "'nagle'; there are: aimd, quantile, fixed"),
        (lambda: make_batch_sizer("fixed", 0.02), "fixed_rows goes with the policy 'fixed'"),
        (lambda: make_batch_sizer("aimd", 0.02, fixed_rows=8), "fixed_rows goes with the policy 'fixed'"),
        (lambda: make_batch_sizer("aimd", 0), "objective_s must be above 0"),
        (lambda: make_batch_sizer("quantile", math.nan), "objective_s must be above 0"),
        (lambda: make_batch_sizer("aimd", 0.02, max_rows=0), "max_rows must be at least 1"),
        (lambda: make_batch_sizer("quantile", 0.02, quantile=1.0), "quantile must lie between 0 and 1"),
        (lambda: FixedBatchSizer(0), "size must be at least 1"),
        (lambda: AimdBatchSizer(0.02, start=10, max_rows=5), "start must be at most max_rows, 5"),
        (lambda: AimdBatchSizer(0.02, decrease=1.0), "decrease must lie between 0 and 1"),
        (lambda: QuantileBatchSizer(0.02, window=10), "window must be at least 64"),
        (lambda: BatchWait(-1), "batch_wait_ms must be at least 0"),
        (lambda: BatchWait(math.inf), "batch_wait_ms must be at least 0"),
    ],
)
def test_a_figure_out_of_range_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        make()


@pytest.mark.parametrize("sizer", [FixedBatchSizer(4), AimdBatchSizer(0.02), QuantileBatchSizer(0.02)])
@pytest.mark.parametrize(("rows", "duration_s"), [(0, 0.1), (-1, 0.1), (1, -0.1), (1, math.nan), (1, math.inf)])
def test_a_batch_that_cannot_have_been_is_refused(sizer: BatchSizer, rows: int, duration_s: float) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        sizer.observe(rows, duration_s)
