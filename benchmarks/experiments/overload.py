"""Offered load at, twice and five times what the model can do: what is still answered in time.

Open loop: requests leave at a constant rate whatever becomes of those before, so nobody slows down for the server.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.experiments.figures import markdown, medians, percentile, verdict
from benchmarks.experiments.models import recorded, sleeping
from benchmarks.experiments.openloop import Answer, http_request, offer
from benchmarks.experiments.recording import read_batches
from benchmarks.experiments.stack import Stack
from benchmarks.results import save

__all__ = ["account", "run", "table", "targets"]

SLEEP_MS, ROWS = 20.0, 8
OBJECTIVE_MS = 200.0
FACTORS = (1.0, 2.0, 5.0)
_GOODPUT = 0.9
_SETTLE_S = 1.0


def run(repeats: int = 3, seconds: float = 5.0) -> dict[str, Any]:
    """Capacity by a closed loop, then each factor in turn."""
    points: dict[float, list[dict[str, float]]] = defaultdict(list)
    capacities: list[float] = []
    with Stack() as stack:
        log = stack.folder / "batches"
        predict = recorded(sleeping(SLEEP_MS, 0), log)
        stack.deploy("busy", predict, slo_ms=OBJECTIVE_MS, batch_size=ROWS, objective_ms=2 * SLEEP_MS)
        bodies = stack.bodies("one", [[0.0]])
        stack.load("busy", bodies, 4 * ROWS, 2)
        for _ in range(repeats):
            capacities.append(_capacity(stack, bodies, seconds))
            for factor in FACTORS:
                before = _predicted(log)
                answers = _offered(stack, factor * capacities[-1], seconds)
                predicted = (_predicted(log) - before) / (seconds + _SETTLE_S)
                points[factor].append(account(answers, capacities[-1], seconds) | {"predicted/s": predicted})
                print(factor, points[factor][-1], flush=True)
    rows = [{"offered ÷ capacity": factor, **medians(points[factor])} for factor in FACTORS]
    result = {
        "repeats": repeats,
        "seconds": seconds,
        "objective_ms": OBJECTIVE_MS,
        "capacity": median(capacities),
        "rows": rows,
        "targets": targets(rows),
    }
    save(overload=result)
    return result


def _capacity(stack: Stack, bodies: Path, seconds: float) -> float:
    """Answers of 200 a second to a closed loop that always has batches waiting."""
    seen = stack.load("busy", bodies, 4 * ROWS, seconds)
    return seen.rps - seen.errors / seconds


def _predicted(log: Path) -> int:
    """Rows that the model was given so far."""
    return sum(batch.rows for batch in read_batches(log))


def _offered(stack: Stack, rate: float, seconds: float) -> list[Answer]:
    request = http_request("/busy/predict", b'{"input": [0.0]}')
    patience_s = 2 + OBJECTIVE_MS / 1000
    return offer(("127.0.0.1", stack.port), [request], rate, _SETTLE_S + seconds, patience_s)


def account(answers: list[Answer], capacity: float, seconds: float) -> dict[str, float]:
    """What became of the requests that were due after the first second.

    Goodput counts answers of 200 that reached the caller within the objective. "Accepted" is all that was not refused
    with 429 or 503, whatever became of it.
    """
    counted = [answer for answer in answers if answer.due_s >= _SETTLE_S]
    good = [answer for answer in counted if answer.status == 200 and answer.latency_s <= OBJECTIVE_MS / 1000]
    accepted = [answer.latency_s for answer in counted if answer.status not in {429, 503}]
    refused = [answer.latency_s for answer in counted if answer.status in {429, 503}]
    by_status = {str(status): sum(answer.status == status for answer in counted) for status in (200, 429, 503, 504, 0)}
    return {
        "offered/s": len(counted) / seconds,
        "goodput/s": len(good) / seconds,
        "goodput ÷ capacity": len(good) / seconds / capacity,
        "accepted p50 ms": 1e3 * percentile(accepted, 0.5) if accepted else 0.0,
        "accepted p99 ms": 1e3 * percentile(accepted, 0.99) if accepted else 0.0,
        "refused p50 ms": 1e3 * percentile(refused, 0.5) if refused else 0.0,
        **by_status,
        "others": len(counted) - sum(by_status.values()),
    }


def targets(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Goodput and the slowest accepted at each load; a percentile of nothing but failures meets nothing."""
    found = []
    for row in rows:
        load = f"at {row['offered ÷ capacity']:g}× capacity"
        found.append(verdict(f"goodput ÷ capacity {load}", row["goodput ÷ capacity"], _GOODPUT, at_least=True))
        p99_ms = row["accepted p99 ms"] if row["200"] else math.nan
        found.append(verdict(f"p99 of the accepted (ms) {load}", p99_ms, OBJECTIVE_MS, at_least=False))
    return found


def table(result: Mapping[str, Any]) -> str:
    """One line for each factor, and the targets."""
    title = f"Capacity {result['capacity']:.0f} requests/s, objective {result['objective_ms']:g} ms:"
    return f"{title}\n\n{markdown(result['rows'])}\n\n{markdown(result['targets'])}"
