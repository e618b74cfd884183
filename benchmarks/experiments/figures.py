"""Percentiles, medians over repeats, and Markdown tables. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

__all__ = ["markdown", "medians", "percentile", "verdict"]


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed (nearest rank); NaN of none."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def medians(repeats: Sequence[Mapping[str, float]], digits: int = 3) -> dict[str, float]:
    """Of each figure, the median over repeats that all have the same figures."""
    return {name: round(median(repeat[name] for repeat in repeats), digits) for name in repeats[0]}


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table: the first row's keys are the heads, figures are aligned to the right."""
    if not rows:
        return ""
    heads = list(rows[0])
    marks = ["--:" if isinstance(rows[0][head], int | float) else "---" for head in heads]
    lines = ["| " + " | ".join(heads) + " |", "|" + "|".join(marks) + "|"]
    lines += ["| " + " | ".join(_cell(row.get(head)) for head in heads) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def verdict(name: str, value: float, limit: float, *, at_least: bool) -> dict[str, Any]:
    """A figure beside its target; NaN never meets one."""
    met = value >= limit if at_least else value <= limit
    return {
        "target": name,
        "measured": None if math.isnan(value) else round(value, 4),
        "wanted": f"{'≥' if at_least else '≤'} {limit:g}",
        "met": met,
    }
