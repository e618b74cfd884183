"""Results: `benchmarks/results/latest.json`, and the Markdown table made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load import Measurement

__all__ = ["RESULTS", "Row", "save", "summarise", "table"]

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One server at one concurrency on one workload: medians over the repeats, and the range of the throughput."""

    workload: str
    server: str
    settings: str
    concurrency: int
    rps: float
    rps_min: float
    rps_max: float
    p50_ms: float
    p99_ms: float
    errors: int
    repeats: int


def summarise(workload: str, server: str, settings: str, concurrency: int, points: list[Measurement]) -> Row:
    """Medians over repeats."""
    rates = [point.rps for point in points]
    return Row(
        workload=workload,
        server=server,
        settings=settings,
        concurrency=concurrency,
        rps=round(median(rates), 1),
        rps_min=min(rates),
        rps_max=max(rates),
        p50_ms=round(median(point.p50_ms for point in points), 3),
        p99_ms=round(median(point.p99_ms for point in points), 3),
        errors=sum(point.errors for point in points),
        repeats=len(points),
    )


def save(**parts: Any) -> None:
    """Put parts (machine, versions, rows, …) into `latest.json`; parts not named stay as they were."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "latest.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    rows = [asdict(row) for row in parts.pop("rows", ())]
    if rows:
        fresh = {(row["workload"], row["server"], row["settings"]) for row in rows}
        kept = [row for row in known.get("rows", ()) if (row["workload"], row["server"], row["settings"]) not in fresh]
        known["rows"] = kept + rows
    path.write_text(json.dumps({**known, **parts}, indent=1, sort_keys=True) + "\n")


def table(rows: Iterable[Row], reference: str = "skysail") -> str:
    """Markdown: throughput (range), latency, and the reference's throughput over each server's."""
    rows = list(rows)
    own = {
        (row.workload, row.concurrency): row.rps for row in rows if (row.server, row.settings) == (reference, "kafka")
    }
    lines = [
        "| workload | server | connections | requests/s (range) | p50 ms | p99 ms | errors | Skysail ÷ it |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in sorted(rows, key=lambda row: (row.workload, row.concurrency, -row.rps)):
        ratio = own.get((row.workload, row.concurrency), 0.0) / row.rps if row.rps else 0.0
        rate = f"{row.rps:,.0f} ({row.rps_min:,.0f}–{row.rps_max:,.0f})"
        name = f"{row.server} ({row.settings})"
        cells = (row.workload, name, row.concurrency, rate, row.p50_ms, row.p99_ms, row.errors, f"{ratio:.2f}")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)
