"""Throughput and latency by the share of requests that the cache answers.

A request either repeats one of a few rows, which are asked for before the measurement, or holds a row never seen
before. The share that the frontend really answered from its cache is read from its counters.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.experiments.figures import markdown, medians
from benchmarks.experiments.stack import Stack
from benchmarks.results import save
from benchmarks.workloads import WORKLOADS

__all__ = ["mixed_rows", "run", "table"]

SHARES = (0.0, 0.5, 0.8, 0.9)
_CONCURRENCY = 32
_HOT = 10
_TTL_S = 3600
_REQUESTS_PER_S = 20_000


def mixed_rows(row: list[float], share: float, length: int, fresh: Iterator[int]) -> Iterator[list[float]]:
    """So many rows, of which `share` are among `_HOT` that repeat, evenly spread; `fresh` numbers those that do not."""
    hits = 0
    for number in range(length):
        if hits < share * (number + 1) - 1e-9:
            hits += 1
            yield [-1.0 - hits % _HOT, *row[1:]]
        else:
            yield [next(fresh) / 1000, *row[1:]]


def run(repeats: int = 3, seconds: float = 5.0) -> dict[str, Any]:
    """The forest on the 64 floats of the digits, at each share."""
    workload = WORKLOADS["forest"]
    workload.prepare()
    with workload.bodies_path.open() as file:
        row: list[float] = json.loads(file.readline())["input"]
    fresh = count(1)
    points: dict[float, list[dict[str, float]]] = defaultdict(list)
    with Stack() as stack:
        stack.deploy("forest", workload.load().predict, slo_ms=20_000, cache_ttl_s=_TTL_S, objective_ms=20)
        for _ in range(repeats):
            for share in SHARES:
                points[share].append(_point(stack, row, share, seconds, fresh))
                print(share, points[share][-1], flush=True)
    rows = [{"hits wanted": share, **medians(points[share])} for share in SHARES]
    result = {"repeats": repeats, "seconds": seconds, "concurrency": _CONCURRENCY, "rows": rows}
    save(cache_hits=result)
    return result


def _point(stack: Stack, row: list[float], share: float, seconds: float, fresh: Iterator[int]) -> dict[str, float]:
    warm = list(mixed_rows(row, share, int(_REQUESTS_PER_S * 1), fresh))
    stack.load("forest", _written(stack, warm), _CONCURRENCY, 1)
    bodies = _written(stack, mixed_rows(row, share, int(_REQUESTS_PER_S * seconds), fresh))
    before = _answers(stack)
    seen = stack.load("forest", bodies, _CONCURRENCY, seconds)
    hits, misses = (now - then for now, then in zip(_answers(stack), before, strict=True))
    return {
        "hits": hits / (hits + misses),
        "rps": seen.rps,
        "p50_ms": seen.p50_ms,
        "p99_ms": seen.p99_ms,
        "errors": seen.errors,
    }


def _written(stack: Stack, rows: Any) -> Path:
    path = stack.folder / "cache.bodies"
    with path.open("w") as file:
        file.writelines(json.dumps({"input": row}) + "\n" for row in rows)
    return path


def _answers(stack: Stack) -> tuple[float, float]:
    """Answers from a cache and from the model, so far."""
    counters = stack.counters()
    hits = sum(value for name, value in counters.items() if name.startswith("skysail_frontend_cache_hits_total"))
    return hits, sum(v for name, v in counters.items() if name.startswith("skysail_frontend_cache_misses_total"))


def table(result: Mapping[str, Any]) -> str:
    """One line a share."""
    first = result["rows"][0]["rps"]
    rows = [{**row, "÷ without hits": round(row["rps"] / first, 2) if first else None} for row in result["rows"]]
    return f"A 100-tree forest, {result['concurrency']} connections:\n\n{markdown(rows)}"
