"""Plots of comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import Row

__all__ = ["plot_workload"]


def plot_workload(rows: Sequence[Row], folder: Path) -> Path:
    """Latency against throughput on one workload, a line for each server, into `folder`; returns the file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    workload = rows[0].workload
    figure, axes = plt.subplots(1, 2, figsize=(13, 5.5), sharex=True)
    colours = plt.get_cmap("tab20")
    for number, label in enumerate(dict.fromkeys(row.label for row in rows)):
        own = sorted((row for row in rows if row.label == label and row.rps), key=lambda row: row.concurrency)
        style = {"color": colours(number % 20), "linewidth": 2.5 if own and own[0].server == "skysail" else 1.2}
        axes[0].plot([row.rps for row in own], [row.p50_ms for row in own], "o-", label=label, **style)
        axes[1].plot([row.rps for row in own], [row.p99_ms for row in own], "o-", **style)
    for axis, name in zip(axes, ("p50", "p99"), strict=True):
        axis.set(xlabel="requests/s", ylabel=f"{name}, ms", xscale="log", yscale="log")
        axis.grid(which="major", alpha=0.3)
    concurrencies = ", ".join(str(at) for at in sorted({row.concurrency for row in rows}))
    figure.suptitle(f"{workload}: latency against throughput, at {concurrencies} connections")
    figure.legend(loc="outside right center", fontsize=8)
    figure.tight_layout(rect=(0, 0, 0.82, 1))
    path = folder / f"{workload}.png"
    folder.mkdir(exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)
    return path
