from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skysail.topics.errors import ModelError, OutputLengthError
from skysail.workers.bisection import Bisection, predict_bisecting, predict_bisecting_async


class PoisonError(Exception):
    pass


class Model:
    """Answers row r of unit u with (u, r), raises if a poison unit is in the batch, and counts its calls."""

    def __init__(self, rows: Sequence[int], poison: set[int]) -> None:
        self.rows = rows
        self.poison = poison
        self.calls: list[list[int]] = []

    def __call__(self, units: Sequence[int]) -> list[tuple[int, int]]:
        self.calls.append(list(units))
        culprits = sorted(self.poison.intersection(units))
        if culprits:
            raise PoisonError(culprits)
        return [(unit, row) for unit in units for row in range(self.rows[unit])]


@st.composite
def batches_with_poison(draw: st.DrawFn) -> tuple[list[int], set[int]]:
    rows = draw(st.lists(st.integers(1, 5), max_size=80))
    if not rows:
        return rows, set()
    if draw(st.booleans()):
        return rows, {unit for unit in range(len(rows)) if draw(st.booleans())}
    return rows, draw(st.sets(st.integers(0, len(rows) - 1), max_size=4))


@given(batches_with_poison())
@settings(max_examples=300, deadline=None)
def test_exactly_the_poison_fails_and_all_others_get_their_own_outputs(batch: tuple[list[int], set[int]]) -> None:
    rows, poison = batch
    model = Model(rows, poison)
    outcomes = predict_bisecting(model, rows)
    assert len(outcomes) == len(rows)
    for unit, outcome in enumerate(outcomes):
        if unit in poison:
            assert isinstance(outcome, PoisonError)
            assert outcome.args == ([unit],)
        else:
            assert outcome == [(unit, row) for row in range(rows[unit])]


@given(batches_with_poison())
@settings(max_examples=300, deadline=None)
def test_every_failing_unit_was_run_alone_and_no_unit_runs_again_after_its_outcome(
    batch: tuple[list[int], set[int]],
) -> None:
    rows, poison = batch
    model = Model(rows, poison)
    predict_bisecting(model, rows)
    assert {unit for units in model.calls if len(units) == 1 for unit in units} >= poison
    settled: set[int] = set()
    for units in model.calls:
        assert units == list(range(units[0], units[-1] + 1))
        assert not settled.intersection(units)
        if len(units) == 1 or not poison.intersection(units):
            settled.update(units)
    assert settled == set(range(len(rows)))


@given(batches_with_poison())
@settings(max_examples=300, deadline=None)
def test_the_number_of_runs_is_bounded(batch: tuple[list[int], set[int]]) -> None:
    rows, poison = batch
    model = Model(rows, poison)
    predict_bisecting(model, rows)
    if rows:
        halvings = math.ceil(math.log2(len(rows)))
        assert len(model.calls) <= 1 + 2 * len(poison) * halvings
        assert len(model.calls) <= 2 * len(rows) - 1


@pytest.mark.parametrize("count", [1, 2, 3, 64, 100, 1000])
def test_one_poison_costs_a_logarithm_of_extra_runs(count: int) -> None:
    for poison in {0, count // 3, count - 1}:
        model = Model([1] * count, {poison})
        predict_bisecting(model, model.rows)
        assert len(model.calls) <= 1 + 2 * math.ceil(math.log2(count))


@pytest.mark.parametrize("count", [10, 100, 1000])
@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_model_that_fails_on_much_takes_few_more_runs_than_units(count: int, every: int) -> None:
    model = Model([1] * count, set(range(0, count, every)))
    predict_bisecting(model, model.rows)
    assert len(model.calls) <= count + 3 * math.log2(count)


def test_the_units_that_succeed_after_a_cluster_of_failures_run_in_groups_again() -> None:
    model = Model([1] * 1000, set(range(20)))
    outcomes = predict_bisecting(model, model.rows)
    assert sum(isinstance(outcome, PoisonError) for outcome in outcomes) == 20
    assert len(model.calls) <= 200


def test_what_fails_for_its_size_alone_succeeds_in_halves() -> None:
    calls = 0

    def predict(units: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        if len(units) > 30:
            raise MemoryError
        return list(units)

    outcomes = predict_bisecting(predict, [1] * 100)
    assert outcomes == [[unit] for unit in range(100)]
    assert calls == 7


def test_a_batch_that_succeeds_is_run_once() -> None:
    model = Model([2, 3, 1], set())
    predict_bisecting(model, model.rows)
    assert model.calls == [[0, 1, 2]]


def test_an_empty_batch_is_not_run() -> None:
    model = Model([], set())
    assert predict_bisecting(model, []) == []
    assert model.calls == []


@pytest.mark.parametrize(
    ("outputs", "got"), [([], 0), ([1, 2], 2), ([1, 2, 3, 4], 4)], ids=["none", "too few", "too many"]
)
def test_a_wrong_number_of_outputs_names_both_numbers(outputs: list[int], got: int) -> None:
    [outcome] = predict_bisecting(lambda _: outputs, [3])
    assert isinstance(outcome, OutputLengthError)
    assert (outcome.expected, outcome.got) == (3, got)
    assert "3" in str(outcome)
    assert str(got) in str(outcome)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=40), st.data())
@settings(max_examples=150, deadline=None)
def test_a_wrong_number_of_outputs_fails_only_the_units_that_cause_it(rows: list[int], data: st.DataObject) -> None:
    short = data.draw(st.sets(st.integers(0, len(rows) - 1)))

    def predict(units: Sequence[int]) -> list[int]:
        return [unit for unit in units for _ in range(rows[unit] - (unit in short))]

    for unit, outcome in enumerate(predict_bisecting(predict, rows)):
        if unit in short:
            assert isinstance(outcome, OutputLengthError)
            assert (outcome.expected, outcome.got) == (rows[unit], rows[unit] - 1)
        else:
            assert outcome == [unit] * rows[unit]


@pytest.mark.parametrize("outputs", [None, 7, {"a": 1, "b": 2, "c": 3}, (value for value in "abc"), {1, 2, 3}])
def test_outputs_that_are_no_sequence_are_a_model_error_that_names_their_type(outputs: Any) -> None:
    for rows in ([3], [1, 2]):
        for outcome in predict_bisecting(lambda _: outputs, rows):
            assert isinstance(outcome, ModelError)
            assert type(outputs).__name__ in str(outcome) or isinstance(outcome, OutputLengthError)


def test_the_outputs_may_be_an_array() -> None:
    def predict(units: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.repeat(np.array(units, dtype=np.float64), 2).reshape(-1, 1)

    first, second = predict_bisecting(predict, [2, 2])
    assert isinstance(first, np.ndarray)
    assert isinstance(second, np.ndarray)
    assert first.tolist() == [[0.0], [0.0]]
    assert second.tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_is_not_the_querys_fault_passes_through(signal: type[BaseException]) -> None:
    def predict(_: Sequence[int]) -> list[int]:
        raise signal

    with pytest.raises(signal):
        predict_bisecting(predict, [1, 1])


async def test_an_async_predict_is_bisected_alike() -> None:
    rows = [1, 2, 3, 1, 1, 2]
    model = Model(rows, {1, 4})
    twin = Model(rows, {1, 4})

    async def predict(units: Sequence[int]) -> list[tuple[int, int]]:
        await asyncio.sleep(0)
        return twin(units)

    outcomes = await predict_bisecting_async(predict, rows)
    expected = predict_bisecting(model, rows)
    assert twin.calls == model.calls
    assert [str(outcome) for outcome in outcomes] == [str(outcome) for outcome in expected]


def test_the_search_has_no_outcomes_before_its_end() -> None:
    search: Bisection[list[int]] = Bisection([1, 1])
    assert search.next_units() == range(2)
    with pytest.raises(RuntimeError, match="2 units have no outcome yet"):
        search.outcomes()
    search.succeeded([1, 2])
    assert search.next_units() is None
    assert search.outcomes() == [[1], [2]]
    assert search.runs == 1


def test_the_search_counts_its_runs() -> None:
    search: Bisection[list[int]] = Bisection([1] * 50)
    runs: list[range] = []
    fail: Callable[[range], bool] = lambda units: 17 in units or 40 in units  # noqa: E731
    while (units := search.next_units()) is not None:
        runs.append(units)
        if fail(units):
            search.failed(PoisonError())
        else:
            search.succeeded(list(units))
    assert search.runs == len(runs)
