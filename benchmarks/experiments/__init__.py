"""What batching, scheduling, scale and the way itself give: one module for each question.

Each has `run(repeats, seconds)`, which measures, saves its result under its own key and returns it, and
`table(result)`, which shows it in Markdown with its targets.
"""

from __future__ import annotations

from types import ModuleType

from benchmarks.experiments import (
    asynchronous,
    batching_gain,
    cache_hits,
    convergence,
    growth,
    overload,
    scaling,
    stages,
    stragglers,
)

__all__ = ["EXPERIMENTS"]

EXPERIMENTS: dict[str, ModuleType] = {
    "stages": stages,
    "batching-gain": batching_gain,
    "cache-hits": cache_hits,
    "convergence": convergence,
    "scaling": scaling,
    "growth": growth,
    "stragglers": stragglers,
    "asynchronous": asynchronous,
    "overload": overload,
}
