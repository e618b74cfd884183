"""Batch sizing at work: a model with a fixed cost for each call, under rising load, sized by AIMD and never batched."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.load import measure
from benchmarks.results import RESULTS, save
from benchmarks.servers import Skysail
from benchmarks.workloads import CACHE, WORKLOADS
from skysail.admin.connection import Connection
from skysail.admin.deployers.python import deploy_python_closure

__all__ = ["batch_under_load", "table"]

FIXED_MS, PER_ROW_MS = 4.0, 0.02
OBJECTIVE_MS = 20.0
CONCURRENCIES = (1, 4, 16, 64, 128, 256, 512)
_SECONDS = 4.0
_HEARTBEAT_S = 0.5


def costly(inputs: Any) -> list[int]:
    """Sleeps as long as a model with a fixed and a per-row cost would compute."""
    time.sleep((FIXED_MS + PER_ROW_MS * len(inputs)) / 1000)
    return [0] * len(inputs)


@dataclass(frozen=True)
class Point:
    """One concurrency: what callers saw, and the worker's mean batch and cap meanwhile."""

    sizing: str
    concurrency: int
    rps: float
    p50_ms: float
    p99_ms: float
    errors: int
    batch_rows: float
    batch_cap: float
    predict_ms: float


def batch_under_load() -> list[Point]:
    """Measure both sizings at each concurrency, save and plot."""
    workload = WORKLOADS["logistic"]
    workload.prepare()
    bodies = CACHE / "models" / "one.bodies"
    bodies.write_text(json.dumps({"input": [0.0]}) + "\n")
    points: list[Point] = []
    with Skysail(workload) as server, server.connection() as connection:
        for sizing, batch_size in (("aimd", -1), ("none", 1)):
            _deploy(connection, sizing, batch_size)
            url = server.url.replace(f"/{workload.name}/", f"/{sizing}/")
            points += [_point(connection, sizing, url, bodies, concurrency) for concurrency in CONCURRENCIES]
            connection.stop_models([sizing])
    best = {sizing: max(point.rps for point in points if point.sizing == sizing) for sizing in ("aimd", "none")}
    gain = round(best["aimd"] / best["none"], 1)
    save(batching={"points": [asdict(point) for point in points], "gain": gain, "objective_ms": OBJECTIVE_MS})
    print(f"AIMD's throughput over that of batch size 1: {gain}×")
    _plot(points, RESULTS / "batching.png")
    return points


def table(result: Mapping[str, Any]) -> str:
    """What `batch_under_load` saved, as Markdown."""
    lines = [
        f"A model that costs {FIXED_MS:g} ms a call and {PER_ROW_MS} ms a row (it sleeps, so the processor is free",
        f"for the rest): AIMD with an objective of {result['objective_ms']:g} ms for each predict, against size 1.",
        "",
        "| sizing | connections | requests/s | p50 ms | p99 ms | mean batch | predict ms |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for point in result["points"]:
        latency = f"{point['p50_ms']} | {point['p99_ms']}"
        cells = f"{point['rps']:,.0f} | {latency} | {point['batch_rows']} | {point['predict_ms']}"
        lines.append(f"| {point['sizing']} | {point['concurrency']} | {cells} |")
    return "\n".join([*lines, "", f"AIMD's best throughput is {result['gain']} times that of batch size 1."])


def _deploy(connection: Connection, name: str, batch_size: int) -> None:
    deploy_python_closure(
        connection, name, "1", costly, input_type="doubles", batch_size=batch_size, objective_ms=OBJECTIVE_MS
    )
    connection.register_application(name, "doubles", slo_micros=30_000_000, cache_ttl_s=0)
    connection.link_model_to_app(name, name)


def _point(connection: Connection, model: str, url: str, bodies: Path, concurrency: int) -> Point:
    measure(url, bodies, concurrency, _SECONDS / 2)  # the cap settles
    with _watching(lambda: _beat(connection, model)) as beats:
        found = measure(url, bodies, concurrency, _SECONDS)
    busy = [beat for beat in beats if beat["batch_rows"]] or [{"batch_rows": 0, "batch_cap": 0, "predict_ms": 0}]
    point = Point(
        sizing=model,
        concurrency=concurrency,
        **asdict(found),
        batch_rows=round(mean(beat["batch_rows"] for beat in busy), 1),
        batch_cap=round(mean(beat["batch_cap"] for beat in busy), 1),
        predict_ms=round(mean(beat["predict_ms"] for beat in busy), 2),
    )
    print(point, flush=True)
    return point


def _beat(connection: Connection, model: str) -> dict[str, Any]:
    workers = connection.get_all_model_replicas(verbose=True)
    return next(worker for worker in workers if worker["model"] == model)


@contextmanager
def _watching(look: Callable[[], dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Look every half second, beside the block."""
    seen: list[dict[str, Any]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_HEARTBEAT_S):
            seen.append(look())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def _plot(points: list[Point], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4))
    titles = ("throughput, requests/s", "mean batch, rows", "predict and p99, ms")
    for sizing, colour in (("aimd", "tab:blue"), ("none", "tab:orange")):
        own = [point for point in points if point.sizing == sizing]
        x = [point.concurrency for point in own]
        axes[0].plot(x, [point.rps for point in own], "o-", color=colour, label=f"batches: {sizing}")
        axes[1].plot(x, [point.batch_rows for point in own], "o-", color=colour, label=sizing)
        axes[2].plot(x, [point.predict_ms for point in own], "o-", color=colour, label=f"{sizing}: one predict")
        axes[2].plot(x, [point.p99_ms for point in own], "s--", color=colour, label=f"{sizing}: p99 of requests")
    axes[2].axhline(OBJECTIVE_MS, color="black", linewidth=0.8, label="objective of a predict")
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=title, xlabel="concurrent requests", xscale="log", yscale="log")
        axis.legend(fontsize=8)
    figure.suptitle(f"A model that costs {FIXED_MS} ms a call and {PER_ROW_MS} ms a row")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    print(f"plot: {path}")
