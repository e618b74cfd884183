"""Synthetic models for the batch sizers: how long so many rows take, and what a sizer makes of it under full load."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from skysail.workers.batching import BatchSizer

OBJECTIVE_S = 0.02

#: What a latency curve gives for so many rows, in seconds.
Curve = Callable[[int], float]


def line(best: int, fixed_share: float, *, times: float = 1.0) -> Curve:
    """A model that takes `best` rows within the objective and not one more; a share of the objective is fixed cost."""
    beta = fixed_share * OBJECTIVE_S
    alpha = (OBJECTIVE_S - beta) / (best + 0.5)
    return lambda rows: times * (alpha * rows + beta)


def noisy(curve: Curve, seed: int, *, sigma: float = 0.0, stalls: float = 0.0) -> Curve:
    """Log-normal noise, and a share of batches that stall for ten times as long."""
    rng = random.Random(seed)

    def duration_s(rows: int) -> float:
        return curve(rows) * math.exp(rng.gauss(0, sigma)) * (10 if rng.random() < stalls else 1)

    return duration_s


def run_full(sizer: BatchSizer, curve: Curve, batches: int) -> list[tuple[int, float]]:
    """Under full load: every batch is as large as the cap. Returns (rows, seconds) of each."""
    done = []
    for _ in range(batches):
        rows = sizer.cap
        duration_s = curve(rows)
        done.append((rows, duration_s))
        sizer.observe(rows, duration_s, left_waiting=True)
    return done


def throughput(done: list[tuple[int, float]]) -> float:
    return sum(rows for rows, _ in done) / sum(seconds for _, seconds in done)


def misses(done: list[tuple[int, float]]) -> int:
    return sum(seconds >= OBJECTIVE_S for _, seconds in done)
