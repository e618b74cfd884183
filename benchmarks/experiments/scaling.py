"""Scale-out: a sleeping model on 1 to 8 workers, behind one frontend process and behind two.

The model sleeps long enough that two cores can carry all processes: what is measured is whether the system adds up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.experiments.figures import markdown, verdict
from benchmarks.experiments.models import sleeping
from benchmarks.experiments.stack import Stack
from benchmarks.results import save

__all__ = ["run", "table"]

SLEEP_MS, ROWS = 50.0, 8
WORKERS = (1, 2, 4, 8)
FRONTENDS = (1, 2)
_RATIO = 7.5
#: Connections for each worker: one batch that runs, one that waits, and what is on its way.
_CONNECTIONS = 32


def run(repeats: int = 3, seconds: float = 5.0) -> dict[str, Any]:
    """Every number of workers behind every number of frontend processes."""
    points: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for frontends in FRONTENDS:
        with Stack(frontends) as stack:
            stack.deploy("sleeping", sleeping(SLEEP_MS, 0), slo_ms=20_000, batch_size=ROWS, objective_ms=100)
            bodies = stack.bodies("one", [[0.0]])
            for workers in WORKERS:
                stack.scale("sleeping", workers)
                stack.load("sleeping", bodies, _CONNECTIONS * workers, 2)
                for _ in range(repeats):
                    points[frontends, workers].append(_point(stack, bodies, workers, seconds))
                    print(frontends, workers, points[frontends, workers][-1], flush=True)
    rows = [_row(frontends, workers, points) for frontends in FRONTENDS for workers in WORKERS]
    ratios = {frontends: _ratio(points, frontends) for frontends in FRONTENDS}
    result = {
        "repeats": repeats,
        "seconds": seconds,
        "rows": rows,
        "targets": [
            verdict(f"8 workers ÷ 1, {frontends} frontend process(es)", ratio, _RATIO, at_least=True)
            for frontends, ratio in ratios.items()
        ],
    }
    save(scaling=result)
    return result


def _point(stack: Stack, bodies: Path, workers: int, seconds: float) -> dict[str, Any]:
    processes = stack.frontend_processes()
    before = [sum(process.cpu_times()[:2]) for process in processes]
    seen = stack.load("sleeping", bodies, _CONNECTIONS * workers, seconds)
    used = [sum(process.cpu_times()[:2]) - then for process, then in zip(processes, before, strict=True)]
    return {
        "rps": seen.rps,
        "p50_ms": seen.p50_ms,
        "p99_ms": seen.p99_ms,
        "errors": seen.errors,
        "least_share": min(used) / sum(used) if sum(used) else 0.0,
    }


def _middle(points: list[dict[str, Any]], figure: str) -> float:
    return round(float(median(point[figure] for point in points)), 3)


def _ratio(points: Mapping[tuple[int, int], list[dict[str, Any]]], frontends: int) -> float:
    one, most = points[frontends, WORKERS[0]], points[frontends, WORKERS[-1]]
    return _middle(most, "rps") / _middle(one, "rps")


def _row(frontends: int, workers: int, points: Mapping[tuple[int, int], list[dict[str, Any]]]) -> dict[str, Any]:
    own = points[frontends, workers]
    rps = _middle(own, "rps")
    return {
        "frontend processes": frontends,
        "workers": workers,
        "requests/s": rps,
        "of what the workers can do": round(rps / (workers * ROWS * 1000 / SLEEP_MS), 3),
        "÷ one worker": round(rps / _middle(points[frontends, 1], "rps"), 2),
        "p50 ms": _middle(own, "p50_ms"),
        "p99 ms": _middle(own, "p99_ms"),
        "least busy frontend's share": _middle(own, "least_share"),
        "errors": sum(point["errors"] for point in own),
    }


def table(result: Mapping[str, Any]) -> str:
    """One line for each pair, and the targets."""
    return markdown(result["rows"]) + "\n\n" + markdown(result["targets"])
