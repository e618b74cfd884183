"""How soon batch sizing finds the best size, and how soon it is back within the objective when the model slows down.

The sizers run on models of known costs, with seeded noise, under full load; and once more in a worker process, on a
model that sleeps, with everything around it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.experiments.figures import markdown, verdict
from benchmarks.experiments.models import recorded, sleeping
from benchmarks.experiments.recording import Batch, read_batches
from benchmarks.experiments.simulated import (
    TOLERANCE,
    Curve,
    Outcome,
    batches_until_recovered,
    batches_until_within,
    simulate,
)
from benchmarks.experiments.stack import Stack
from benchmarks.load import Measurement
from benchmarks.results import save
from skysail.workers.batching import AimdBatchSizer, BatchSizer, QuantileBatchSizer

__all__ = ["run", "simulated", "table"]

OBJECTIVE_S = 0.02
SLOWER = 3.0
CURVES = [(best, share) for best in (20, 100, 1000) for share in (0.05, 0.2, 0.3)]
SIGMAS = (0.0, 0.05)
SEEDS = range(10)
_CONVERGED_LIMIT, _RECOVERED_LIMIT = 99, 19

#: Of twenty batches in a row in a worker, so many may be late by chance: it shares two cores with the load.
RECOVERED_LATE = 1
FIXED_MS, PER_ROW_MS = 2.0, 0.15
_CONCURRENCY = 512


def _aimd(objective_s: float) -> BatchSizer:
    return AimdBatchSizer(objective_s)


def _textbook(objective_s: float) -> BatchSizer:
    return AdditiveSizer(objective_s)


def _quantile(objective_s: float) -> BatchSizer:
    return QuantileBatchSizer(objective_s)


class AdditiveSizer:
    """The rule as the paper states it: one row more while in time, a tenth less on a miss."""

    def __init__(self, objective_s: float) -> None:
        self._objective_s = objective_s
        self._cap = 1

    @property
    def cap(self) -> int:
        """Rows of the next batch."""
        return self._cap

    def observe(self, rows: int, duration_s: float, *, left_waiting: bool = False) -> None:  # noqa: ARG002 - protocol's
        """A batch has taken so long."""
        self._cap = max(1, int(0.9 * rows)) if duration_s >= self._objective_s else rows + 1


_SIZERS: dict[str, Callable[[float], BatchSizer]] = {
    "aimd": _aimd,
    "quantile": _quantile,
    "the paper's +1, ×0.9": _textbook,
}


def run(repeats: int = 3, seconds: float = 5.0) -> dict[str, Any]:
    """Both parts; the real one once for each repeat."""
    rows = simulated()
    real = [_real(seconds) for _ in range(repeats)]
    targets = [
        _worst("converged, simulated aimd (batches)", rows, "converged", _CONVERGED_LIMIT),
        _worst("recovered, simulated aimd (batches)", rows, "recovered", _RECOVERED_LIMIT),
        verdict("converged, worker (batches)", _most(real, "converged"), _CONVERGED_LIMIT, at_least=False),
        verdict("recovered, worker (batches)", _most(real, "recovered"), _RECOVERED_LIMIT, at_least=False),
    ]
    result = {"repeats": repeats, "simulated": rows, "real": real, "targets": targets}
    save(convergence=result)
    return result


def simulated() -> list[dict[str, Any]]:
    """Each sizer on each curve and noise: the worst over the seeds, and means. Deterministic."""
    found = []
    for name, make in _SIZERS.items():
        for best, share in CURVES:
            for sigma in SIGMAS:
                curve = Curve(best, share, OBJECTIVE_S, sigma)
                outcomes = [simulate(make, curve, seed, SLOWER) for seed in (SEEDS if sigma else range(1))]
                found.append({"sizer": name, **_described(curve), **_summary(outcomes)})
    return found


def _described(curve: Curve) -> dict[str, Any]:
    return {
        "best size": curve.best_fixed(),
        "fixed share": curve.fixed_share,
        "noise": curve.sigma,
        "best, slow": curve.best_fixed(SLOWER),
    }


def _summary(outcomes: list[Outcome]) -> dict[str, Any]:
    return {
        "converged": _slowest([outcome.converged for outcome in outcomes]),
        "recovered": _slowest([outcome.recovered for outcome in outcomes]),
        "rarely late": _slowest([outcome.rarely_late for outcome in outcomes]),
        "late in first 100": max(outcome.late_start for outcome in outcomes),
        "late in next 300, mean": round(fmean(outcome.late_steady for outcome in outcomes), 1),
        "late in 100 when slow": max(outcome.late_slow for outcome in outcomes),
        "throughput ÷ best fixed": round(fmean(outcome.steady_share for outcome in outcomes), 3),
    }


def _slowest(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return max(known) if len(known) == len(counts) else None


def _most(rows: list[dict[str, Any]], figure: str) -> float:
    slowest = _slowest([row[figure] for row in rows])
    return float("nan") if slowest is None else slowest


def _worst(name: str, rows: list[dict[str, Any]], figure: str, limit: float) -> dict[str, Any]:
    """Over the curves on which a fixed size can meet the objective at all."""
    own = [row for row in rows if row["sizer"] == "aimd" and (row["best, slow"] or figure == "converged")]
    return verdict(name, _most(own, figure), limit, at_least=False)


# ------------------------------------------------------------------------------------------------------- for real


@dataclass(frozen=True)
class _Load:
    """wrk beside the experiment."""

    thread: threading.Thread
    found: list[Measurement]


def _real(seconds: float) -> dict[str, Any]:
    with Stack() as stack:
        speed, log = stack.folder / "speed", stack.folder / "batches"
        speed.write_text("1.0")
        predict = recorded(sleeping(FIXED_MS, PER_ROW_MS, speed), log)
        stack.deploy("sleeping", predict, slo_ms=30_000, objective_ms=1000 * OBJECTIVE_S, max_batch_rows=1024)
        bodies = stack.bodies("one", [[0.0]])
        load = _start(stack, bodies, seconds)
        time.sleep(seconds)
        slow_at_s = time.time()
        _replace(speed, str(SLOWER))
        load.thread.join()
        batches = read_batches(log)
    return _judged(batches, slow_at_s, load.found[0])


def _start(stack: Stack, bodies: Path, seconds: float) -> _Load:
    found: list[Measurement] = []
    thread = threading.Thread(target=lambda: found.append(stack.load("sleeping", bodies, _CONCURRENCY, 2 * seconds)))
    thread.start()
    return _Load(thread, found)


def _replace(path: Path, text: str) -> None:
    """In one step: the model reads it before every batch."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def _judged(batches: list[Batch], slow_at_s: float, seen: Measurement) -> dict[str, Any]:
    before = [batch for batch in batches if batch.ended_s < slow_at_s]
    # The batch that ran at the change read the old speed.
    after = [batch for batch in batches if batch.ended_s - batch.duration_s >= slow_at_s]
    best = int((1000 * OBJECTIVE_S - FIXED_MS) / PER_ROW_MS)
    late = [batch.duration_s > TOLERANCE * OBJECTIVE_S for batch in after]
    settled = before[len(before) // 2 :]
    return {
        "best size": best,
        "converged": batches_until_within([batch.rows for batch in before], best),
        "mean rows, settled": round(fmean(batch.rows for batch in settled), 1),
        "late, settled": round(sum(batch.duration_s >= OBJECTIVE_S for batch in settled) / len(settled), 4),
        "recovered": batches_until_recovered(late, allowed=RECOVERED_LATE),
        "first sizes when slow": ", ".join(str(batch.rows) for batch in after[:8]),
        "errors": seen.errors,
    }


def table(result: Mapping[str, Any]) -> str:
    """Simulated, real, targets."""
    parts = ["On simulated models:", markdown(result["simulated"]), "In a worker:", markdown(result["real"])]
    return "\n\n".join([*parts, markdown(result["targets"])])
