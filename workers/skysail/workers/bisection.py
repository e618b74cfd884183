"""Finds the queries that make predict raise, so that each fails alone and the rest get their outputs.

A unit is what fails together: a query of one or more rows. The search knows nothing of rows or models; `Bisection` says
which units to run next and is told how that went, so one search serves sync and async predict functions.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, Self, TypeVar, cast

from skysail.topics.errors import ModelError, OutputLengthError

__all__ = ["Bisection", "Outputs", "predict_bisecting", "predict_bisecting_async"]

#: Failed units before their share means anything.
_EVIDENCE = 3


class Outputs(Protocol):
    """What predict returns: one output a row, such as a list or an array."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Self: ...


OutputsT = TypeVar("OutputsT", bound=Outputs)


class Bisection(Generic[OutputsT]):
    """The search, as a state machine: `next_units`, run them, then `succeeded` or `failed`; until None.

    A group that fails is halved until single units fail, depth first, in order: with one failing unit among n at most
    1 + 2 * ceil(log2 n) runs, with k about 2 k log2(n / k) more.

    Only the query that causes a raise may fail, so every failing unit is run alone before it is given up, however
    broken the model seems: n units that all fail take at least n runs. By halving alone they would take 2n - 1. So once
    three have failed, groups are no larger than makes them as likely to succeed as to fail at the share of failed units
    so far, which tells most per run: single units from a share of 0.29 on, where grouping gains nothing any more
    (Ungar, "The cutoff point for group testing", 1960). A model that fails on everything takes n + log2 n runs. As more
    units succeed, groups grow again.

    No inference is drawn from a half that succeeds to the other: what fails for its size alone (out of memory) would
    then be cut up to single units instead of succeeding in halves.

    Args:
        rows: the rows of each unit (>= 1).
    """

    def __init__(self, rows: Sequence[int]) -> None:
        self._rows = rows
        self._outcomes: list[OutputsT | Exception | None] = [None] * len(rows)
        self._open = [(0, len(rows))] if rows else []  # ranges [start, stop) still to run, the next one last
        self._failed = 0
        self._settled = 0
        self.runs = 0

    def next_units(self) -> range | None:
        """Indices of the units to run next, or None when every unit has its outcome."""
        if not self._open:
            return None
        start, stop = self._open[-1]
        group = self._largest_group()
        if stop - start > group:
            self._open[-1:] = [(start + group, stop), (start, start + group)]
            stop = start + group
        return range(start, stop)

    def succeeded(self, outputs: OutputsT) -> None:
        """Takes the outputs of the units that were to run; if there is not one a row, they have failed."""
        start, stop = self._open[-1]
        try:
            expected = sum(self._rows[start:stop])
            if len(outputs) != expected:
                self.failed(OutputLengthError(expected, len(outputs)))
                return
            parts = self._split(outputs, start, stop)
        except (TypeError, KeyError, ValueError, IndexError) as error:
            wrong = ModelError(f"predict must return a sequence of outputs; it returned {type(outputs).__name__}")
            wrong.__cause__ = error
            self.failed(wrong)
            return
        self._outcomes[start:stop] = parts
        self._close(stop - start, failed=0)

    def failed(self, error: Exception) -> None:
        """Takes what the run of those units raised: the outcome of a single unit, the halving of a group."""
        start, stop = self._open[-1]
        if stop - start == 1:
            self._outcomes[start] = error
            self._close(1, failed=1)
            return
        self.runs += 1
        middle = (start + stop) // 2
        self._open[-1:] = [(middle, stop), (start, middle)]

    def outcomes(self) -> list[OutputsT | Exception]:
        """Each unit's outputs, or what it raised, in the order of the units. Only once `next_units` gave None."""
        if self._open:
            msg = f"{len(self._rows) - self._settled} units have no outcome yet"
            raise RuntimeError(msg)
        return cast("list[OutputsT | Exception]", self._outcomes)

    def _largest_group(self) -> int:
        if self._failed < _EVIDENCE:
            return len(self._rows)
        if self._failed == self._settled:
            return 1
        return max(1, int(math.log(0.5) / math.log1p(-self._failed / self._settled)))

    def _close(self, units: int, *, failed: int) -> None:
        self._open.pop()
        self.runs += 1
        self._settled += units
        self._failed += failed

    def _split(self, outputs: OutputsT, start: int, stop: int) -> list[OutputsT]:
        parts = []
        at = 0
        for rows in self._rows[start:stop]:
            parts.append(outputs[at : at + rows])
            at += rows
        return parts


def predict_bisecting(predict: Callable[[Sequence[int]], OutputsT], rows: Sequence[int]) -> list[OutputsT | Exception]:
    """Runs a batch so that a raise, or a wrong number of outputs, fails only the units that cause it.

    Args:
        predict: takes the indices of the units to run, which are consecutive, and returns their outputs, one a row, in
            the same order.
        rows: the rows of each unit (>= 1).

    Returns:
        For each unit its outputs (one a row) or the exception: what predict raised, `OutputLengthError`, `ModelError`.
        What is no Exception (KeyboardInterrupt, SystemExit, a cancellation) is not the query's and passes through.
    """
    search: Bisection[OutputsT] = Bisection(rows)
    while (units := search.next_units()) is not None:
        try:
            outputs = predict(units)
        except Exception as error:  # noqa: BLE001 - whatever model code raises becomes the outcome of a query
            search.failed(error)
        else:
            search.succeeded(outputs)
    return search.outcomes()


async def predict_bisecting_async(
    predict: Callable[[Sequence[int]], Awaitable[OutputsT]], rows: Sequence[int]
) -> list[OutputsT | Exception]:
    """As `predict_bisecting`, for an ``async def`` predict."""
    search: Bisection[OutputsT] = Bisection(rows)
    while (units := search.next_units()) is not None:
        try:
            outputs = await predict(units)
        except Exception as error:  # noqa: BLE001 - whatever model code raises becomes the outcome of a query
            search.failed(error)
        else:
            search.succeeded(outputs)
    return search.outcomes()
