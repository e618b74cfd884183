"""Results: `results/latest.json` holds comparisons, `results/experiments.json` all else; and Markdown made of rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load import Measurement

__all__ = ["RESULTS", "Row", "merge", "ratios", "read", "save", "summarise", "table"]

RESULTS = Path(__file__).parent / "results"
#: What `latest.json` consists of.
_COMPARISON = ("machine", "versions", "rows")


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

    @property
    def label(self) -> str:
        """The server and its settings."""
        return f"{self.server} ({self.settings})"


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


def read(folder: Path = RESULTS) -> dict[str, Any]:
    """Everything that is saved, under its keys."""
    found: dict[str, Any] = {}
    for name in ("latest.json", "experiments.json"):
        path = folder / name
        if path.exists():
            found |= json.loads(path.read_text())
    return found


def merge(known: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """Parts over what is known; fresh rows replace all of their workload's, so that ratios stay within one run."""
    fresh = [asdict(row) for row in parts.get("rows", ())]
    workloads = {row["workload"] for row in fresh}
    kept = [row for row in known.get("rows", ()) if row["workload"] not in workloads]
    versions = {**known.get("versions", {}), **parts.get("versions", {})}
    return {**known, **parts, "rows": kept + fresh, "versions": versions}


def save(*, folder: Path = RESULTS, **parts: Any) -> None:
    """Put parts (machine, versions, rows; idle, batching, …) into their files; parts not named stay as they were."""
    folder.mkdir(exist_ok=True)
    merged = merge(read(folder), parts)
    comparison = {name: merged.pop(name) for name in _COMPARISON if name in merged}
    for name, content in (("latest.json", comparison), ("experiments.json", merged)):
        if content:
            (folder / name).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def _rates(rows: Iterable[Row], server: str, settings: str) -> dict[tuple[str, int], float]:
    return {
        (row.workload, row.concurrency): row.rps for row in rows if (row.server, row.settings) == (server, settings)
    }


def table(rows: Iterable[Row], reference: tuple[str, str] = ("skysail", "kafka")) -> str:
    """Markdown: throughput (range), latency, and the reference's throughput over each server's."""
    rows = list(rows)
    own = _rates(rows, *reference)
    lines = [
        "| workload | server | connections | requests/s (range) | p50 ms | p99 ms | errors | Skysail ÷ it |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in sorted(rows, key=lambda row: (row.workload, row.concurrency, -row.rps)):
        ratio = _ratio(own.get((row.workload, row.concurrency)), row.rps)
        rate = f"{row.rps:,.0f} ({row.rps_min:,.0f}–{row.rps_max:,.0f})"
        cells = (row.workload, row.label, row.concurrency, rate, row.p50_ms, row.p99_ms, row.errors, ratio)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def ratios(rows: Sequence[Row], reference: tuple[str, str] = ("skysail", "kafka")) -> str:
    """Markdown: the reference's throughput over that of each server, and over the best of each server's settings."""
    own = _rates(rows, *reference)
    others = [row for row in rows if (row.server, row.settings) != reference]
    concurrencies = sorted({row.concurrency for row in others})
    heads = ["workload", "Skysail ÷", *(f"at {concurrency}" for concurrency in concurrencies)]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "--:|" * len(concurrencies)]
    for (workload, label), rates in _by_server(others).items():
        cells = [_ratio(own.get((workload, at)), rates.get(at, 0.0)) for at in concurrencies]
        lines.append("| " + " | ".join([workload, label, *cells]) + " |")
    return "\n".join(lines)


def _by_server(rows: Sequence[Row]) -> dict[tuple[str, str], dict[int, float]]:
    """Rates by concurrency; servers measured with several settings also have their best at each."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    settings: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        found.setdefault((row.workload, row.label), {})[row.concurrency] = row.rps
        known = settings.setdefault((row.workload, row.server), [])
        if row.settings not in known:
            known.append(row.settings)
    for (workload, server), several in settings.items():
        if len(several) > 1:
            each = [found[workload, f"{server} ({one})"] for one in several]
            label = f"{server} (best of {len(several)} settings)"
            found[workload, label] = {at: max(rates.get(at, 0.0) for rates in each) for at in each[0]}
    return dict(sorted(found.items()))


def _ratio(own: float | None, other: float) -> str:
    return f"{own / other:.2f}" if own is not None and other else "–"
