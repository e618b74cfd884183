"""A batch sizer under full load on a model whose costs are known: batches until it converges and recovers. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from skysail.workers.batching import BatchSizer

__all__ = ["TOLERANCE", "Curve", "Outcome", "batches_until_recovered", "batches_until_within", "simulate"]

#: The share of the best size that counts as converged.
_NEAR = 0.9
#: Within the objective is what takes at most so many times as long.
TOLERANCE = 1.05
_P99_SIGMAS = 2.33
#: Before the model becomes slower (the first hundred of them count as the start), and after.
_START, _BATCHES, _SLOW_BATCHES = 100, 400, 100


@dataclass(frozen=True)
class Curve:
    """Predict takes b + a·n seconds for n rows, times a log-normal noise.

    Args:
        best: the largest size within the objective without noise.
        fixed_share: b as a share of the objective.
        objective_s: the objective.
        sigma: of the noise's logarithm.
    """

    best: int
    fixed_share: float
    objective_s: float
    sigma: float = 0.0

    def mean_s(self, rows: int, slower: float = 1.0) -> float:
        """Seconds without noise."""
        fixed_s = self.fixed_share * self.objective_s
        return slower * (fixed_s + (self.objective_s - fixed_s) * rows / (self.best + 0.5))

    def best_fixed(self, slower: float = 1.0) -> int:
        """The largest fixed size whose p99 is within the objective; 0 when none is."""
        factor = math.exp(_P99_SIGMAS * self.sigma)
        sizes = range(self.best, 0, -1)
        return next((rows for rows in sizes if factor * self.mean_s(rows, slower) < self.objective_s), 0)


@dataclass(frozen=True)
class Outcome:
    """Batches from cold to near the best size and from the slow-down to within the objective; None: not in time.

    `recovered`: to twenty batches of sizes that, without noise, take at most the objective with the tolerance;
    `rarely_late`: to twenty with at most one that is late by any amount, noise included.
    `late_start`, `late_steady` and `late_slow` are misses among the batches before, in the steady state, and in the
    hundred after the slow-down; `steady_share` is the throughput in the steady state over that of the best fixed size.
    """

    converged: int | None
    recovered: int | None
    rarely_late: int | None
    late_start: int
    late_steady: int
    late_slow: int
    steady_share: float


def batches_until_within(rows: list[int], best: int) -> int | None:
    """Batches up to the first of at least 0.9 of `best` rows, that one included."""
    return next((number for number, size in enumerate(rows, 1) if size >= _NEAR * best - 1e-9), None)


def batches_until_recovered(late: list[bool], window: int = 20, allowed: int = 1) -> int | None:
    """Batches before the first in time that begins a run of `window` with at most `allowed` late ones."""
    for start in range(len(late) - window + 1):
        if not late[start] and sum(late[start : start + window]) <= allowed:
            return start
    return None


def simulate(make: Callable[[float], BatchSizer], curve: Curve, seed: int, slower: float = 3.0) -> Outcome:
    """Run a sizer, made for the objective, from cold; then make the model slower."""
    noise = random.Random(seed)
    sizer = make(curve.objective_s)
    fast = _run(sizer, curve, noise, _BATCHES, 1.0)
    slow = _run(sizer, curve, noise, _SLOW_BATCHES, slower)
    best = curve.best_fixed()
    steady = fast[_START:]
    rate = sum(rows for rows, _ in steady) / sum(duration_s for _, duration_s in steady)
    return Outcome(
        converged=batches_until_within([rows for rows, _ in fast], best),
        recovered=batches_until_recovered(
            [curve.mean_s(rows, slower) > TOLERANCE * curve.objective_s for rows, _ in slow], allowed=0
        ),
        rarely_late=batches_until_recovered([duration_s >= curve.objective_s for _, duration_s in slow]),
        late_start=_late(fast[:_START], curve),
        late_steady=_late(steady, curve),
        late_slow=_late(slow, curve),
        steady_share=rate / (best / curve.mean_s(best)),
    )


def _run(sizer: BatchSizer, curve: Curve, noise: random.Random, batches: int, slower: float) -> list[tuple[int, float]]:
    done = []
    for _ in range(batches):
        rows = sizer.cap
        duration_s = curve.mean_s(rows, slower) * math.exp(noise.gauss(0, curve.sigma))
        sizer.observe(rows, duration_s, left_waiting=True)
        done.append((rows, duration_s))
    return done


def _late(done: list[tuple[int, float]], curve: Curve) -> int:
    return sum(duration_s >= curve.objective_s for _, duration_s in done)
