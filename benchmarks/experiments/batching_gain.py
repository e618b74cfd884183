"""What adaptive batching gains: against batch size 1 on the paper's models, and by waiting for fuller batches.

After Figures 3 to 5 of Crankshaw et al., NSDI'17. The objective is that of one batch's predict, as in the paper; the
whole way's latency stands beside it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.experiments.figures import markdown, medians, verdict
from benchmarks.experiments.models import Predict, noop, recorded, sleeping
from benchmarks.experiments.recording import read_batches, row_percentile
from benchmarks.experiments.stack import Stack
from benchmarks.results import save
from benchmarks.workloads import WORKLOADS

__all__ = ["run", "table"]

OBJECTIVE_MS = 20.0
#: The paper's: on 784 floats, but the logistic regression and the forest on 64.
MODELS = ("linear-svm", "logistic", "kernel-svm", "forest", "no-op")
_P99_LIMIT = 1.05
_CONCURRENCY = 256
_WAIT_CONCURRENCY = 32
_WAITS_MS = (0.0, 1.0, 2.0)
_SIZINGS = {"aimd": -1, "one": 1}


def run(repeats: int = 3, seconds: float = 5.0) -> dict[str, Any]:
    """The five models with both sizings, then the linear SVM and a sleeping model with each wait."""
    with Stack() as stack:
        gain = _gain(stack, repeats, seconds)
        waits = _waits(stack, repeats, seconds)
    targets = [
        verdict(f"p99 of predict ÷ objective, {row['model']}", row["aimd p99 ÷ objective"], _P99_LIMIT, at_least=False)
        for row in gain
    ]
    result = {
        "repeats": repeats,
        "seconds": seconds,
        "objective_ms": OBJECTIVE_MS,
        "concurrency": _CONCURRENCY,
        "wait_concurrency": _WAIT_CONCURRENCY,
        "gain": gain,
        "waits": waits,
        "targets": targets,
    }
    save(batching_gain=result)
    return result


def _gain(stack: Stack, repeats: int, seconds: float) -> list[dict[str, Any]]:
    found = []
    for model in MODELS:
        WORKLOADS[model].prepare()
        predict, bodies = _predict(model), WORKLOADS[model].bodies_path
        for sizing, size in _SIZINGS.items():
            _deploy(stack, f"{model}-{sizing}", predict, batch_size=size)
        points: dict[str, list[dict[str, float]]] = defaultdict(list)
        for _ in range(repeats):
            for sizing in _SIZINGS:
                points[sizing].append(_point(stack, f"{model}-{sizing}", bodies, _CONCURRENCY, seconds))
        stack.connection.stop_models([f"{model}-{sizing}" for sizing in _SIZINGS])
        found.append(_compared(model, {sizing: medians(points[sizing]) for sizing in _SIZINGS}))
        print(found[-1], flush=True)
    return found


def _predict(model: str) -> Predict:
    predict: Predict = noop if model == "no-op" else WORKLOADS[model].load().predict
    return predict


def _compared(model: str, by_sizing: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    aimd, one = by_sizing["aimd"], by_sizing["one"]
    return {
        "model": model,
        "aimd requests/s": aimd["rps"],
        "size 1 requests/s": one["rps"],
        "gain": round(aimd["rps"] / one["rps"], 2) if one["rps"] else None,
        "aimd mean rows": aimd["batch_rows"],
        "aimd predict p99 ms": aimd["predict_p99_ms"],
        "aimd p99 ÷ objective": round(aimd["predict_p99_ms"] / OBJECTIVE_MS, 3),
        "aimd whole p50 ms": aimd["p50_ms"],
        "aimd whole p99 ms": aimd["p99_ms"],
        "size 1 whole p99 ms": one["p99_ms"],
        "errors": aimd["errors"] + one["errors"],
    }


def _waits(stack: Stack, repeats: int, seconds: float) -> list[dict[str, Any]]:
    workload = WORKLOADS["linear-svm"]
    workload.prepare()
    bodies = workload.bodies_path
    found = []
    for model, predict in (("linear-svm", workload.load().predict), ("sleeps 4 ms + 0.02 ms a row", sleeping(4, 0.02))):
        apps = {wait_ms: f"{model[:6]}-wait-{wait_ms:g}" for wait_ms in _WAITS_MS}
        for wait_ms, app in apps.items():
            _deploy(stack, app, predict, batch_wait_ms=wait_ms)
        points: dict[float, list[dict[str, float]]] = defaultdict(list)
        for _ in range(repeats):
            for wait_ms, app in apps.items():
                points[wait_ms].append(_point(stack, app, bodies, _WAIT_CONCURRENCY, seconds))
        stack.connection.stop_models(list(apps.values()))
        found += [{"model": model, "wait ms": wait_ms, **medians(points[wait_ms])} for wait_ms in _WAITS_MS]
    return found


def _deploy(stack: Stack, name: str, predict: Any, **options: Any) -> None:
    stack.deploy(name, recorded(predict, stack.folder / name), slo_ms=20_000, objective_ms=OBJECTIVE_MS, **options)


def _point(stack: Stack, app: str, bodies: Path, concurrency: int, seconds: float) -> dict[str, float]:
    log = stack.folder / app
    stack.load(app, bodies, concurrency, seconds)  # the cap settles
    since_s = time.time()
    seen = stack.load(app, bodies, concurrency, seconds)
    batches = read_batches(log, since_s)
    return {
        "rps": seen.rps,
        "p50_ms": seen.p50_ms,
        "p99_ms": seen.p99_ms,
        "errors": seen.errors,
        "batch_rows": fmean(batch.rows for batch in batches),
        "predict_p99_ms": 1e3 * row_percentile(batches, 0.99),
    }


def table(result: Mapping[str, Any]) -> str:
    """Models, waits, targets."""
    titles = (
        f"AIMD against batch size 1, {result['concurrency']} connections, objective {result['objective_ms']:g} ms:",
        f"Delayed batching, {result['wait_concurrency']} connections:",
    )
    parts = [titles[0], markdown(result["gain"]), titles[1], markdown(result["waits"]), markdown(result["targets"])]
    return "\n\n".join(parts)
