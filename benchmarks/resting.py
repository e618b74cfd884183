"""What Skysail costs while nobody asks: resident memory and processor time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import psutil

from benchmarks.results import save
from benchmarks.servers import Skysail
from benchmarks.workloads import WORKLOADS

__all__ = ["rest", "table"]

_SETTLE_S = 10.0
_WATCH_S = 30.0
_ROLES = {
    "skysail.frontend": "frontend",
    "skysail.workers": "worker",
    "skysail.admin": "admin",
    "skysail up": "supervisor",
}


def rest() -> dict[str, dict[str, float]]:
    """Memory (MiB) and CPU (% of one core) of each of Skysail's processes, idle on Kafka with one model deployed."""
    workload = WORKLOADS["logistic"]
    workload.prepare()
    with Skysail(workload) as server:
        time.sleep(_SETTLE_S)
        family = [process for process in server.process.family() if _role(process) is not None]
        before = {process.pid: sum(process.cpu_times()[:2]) for process in family}
        time.sleep(_WATCH_S)
        found = {str(_role(process)): _figures(process, before[process.pid]) for process in family}
    total = round(sum(figures["cpu_percent"] for figures in found.values()), 2)
    for role, figures in found.items():
        print(f"{role:<12} {figures['rss_mib']:7.1f} MiB {figures['cpu_percent']:6.2f} % of a core")
    print(f"all of them together: {total} % of a core")
    save(idle={**found, "total_cpu_percent": total})
    return found


def table(result: Mapping[str, Any]) -> str:
    """What `rest` saved, as Markdown."""
    lines = [
        "Idle on Kafka with one scikit-learn model deployed.",
        "",
        "| process | MiB | % of a core |",
        "|---|--:|--:|",
    ]
    figures = {role: found for role, found in result.items() if isinstance(found, Mapping)}
    lines += [f"| {role} | {found['rss_mib']} | {found['cpu_percent']} |" for role, found in figures.items()]
    return "\n".join([*lines, f"| all | | {result['total_cpu_percent']} |"])


def _role(process: psutil.Process) -> str | None:
    line = " ".join(process.cmdline())
    return next((role for part, role in _ROLES.items() if part in line), None)


def _figures(process: psutil.Process, before_s: float) -> dict[str, float]:
    used = sum(process.cpu_times()[:2]) - before_s
    return {
        "rss_mib": round(process.memory_info().rss / 2**20, 1),
        "cpu_percent": round(100 * used / _WATCH_S, 2),
    }
