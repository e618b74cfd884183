"""The results part of docs/benchmarks.md, written from the saved results: nothing there is edited by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.results import RESULTS, Row, ratios, read, table

__all__ = ["BEGIN", "DOCUMENT", "END", "render", "replace_between", "report"]

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- results: written by `make bench BENCH=report` -->", "<!-- end of results -->"

#: An experiment's result to Markdown.
Table = Callable[[Mapping[str, Any]], str]


def report(tables: Mapping[str, Table]) -> None:
    """Rewrite the results part of the document."""
    text = render(read(), tables, {path.stem for path in RESULTS.glob("*.png")})
    DOCUMENT.write_text(replace_between(DOCUMENT.read_text(), text))
    print(f"written: {DOCUMENT}")


def replace_between(document: str, text: str) -> str:
    """The document with the text between its two marks.

    Raises:
        ValueError: when it does not have each mark once, in order.
    """
    before, begin, rest = document.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end or BEGIN in old + after or END in after:
        message = f"the document needs {BEGIN} and {END} once each, in this order"
        raise ValueError(message)
    return f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}"


def render(results: Mapping[str, Any], tables: Mapping[str, Table], plots: set[str]) -> str:
    """Markdown of all results.

    Args:
        results: as `results.read` gives them.
        tables: of experiments, by the name under which their results are saved.
        plots: names of those that there are.
    """
    rows = [Row(**row) for row in results.get("rows", ())]
    parts = [_circumstances(results), "## Beside others", ratios(rows) if rows else "Nothing was measured."]
    for workload in dict.fromkeys(row.workload for row in rows):
        parts += [f"### {workload}", table(row for row in rows if row.workload == workload)]
        parts += _missing(results, workload)
        if workload in plots:
            parts.append(f"![{workload}](../benchmarks/results/{workload}.png)")
    for name, make in tables.items():
        if name in results:
            parts += [f"## {name.replace('_', ' ').capitalize()}", make(results[name])]
            if name in plots:
                parts.append(f"![{name}](../benchmarks/results/{name}.png)")
    return "\n\n".join(parts)


def _circumstances(results: Mapping[str, Any]) -> str:
    machine, versions = results.get("machine", {}), results.get("versions", {})
    hardware = f"{machine.get('processor')}, {machine.get('cores')} cores, {machine.get('memory_gib')} GiB"
    lines = [
        f"{hardware}; {machine.get('system')}; Python {machine.get('python')}.",
        ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) + ".",
    ]
    return "\n".join(lines)


def _missing(results: Mapping[str, Any], workload: str) -> list[str]:
    unavailable = results.get("unavailable", {}).get(workload, {})
    return [f"Left out: {name}: {reason}" for name, reason in unavailable.items()]
