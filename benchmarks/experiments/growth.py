"""Whether a query costs the same whatever has been before and beside it: from 1 to 100 models, from 10³ to 10⁶ queries.

The frontend's processor time for each query, and the memory of frontend and store. Every query goes the whole way
(nothing is cached); a stand-in answers for all models.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
import redis

from benchmarks.experiments.figures import markdown, medians, verdict
from benchmarks.experiments.openloop import http_request, offer
from benchmarks.experiments.responder import VERSION
from benchmarks.experiments.stack import Stack
from benchmarks.processes import Process
from benchmarks.results import save
from skysail.topics.specs import DEFAULT_PARTITIONS
from tests.waiting import wait_until

__all__ = ["run", "table"]

MODELS = (1, 10, 100)
_RATE = 1000.0
_CONCURRENCY = 32
#: Queries after which cost and memory are read. The last only where a run takes long anyway.
_MARKS = (1_000, 10_000, 100_000, 1_000_000)
_LONG_S = 5.0
_FEW_LEFT = 50_000
#: "Flat" is no more than this, for noise of two cores shared with the load.
_FLAT = 1.25
_WAIT_S = 120.0


def run(repeats: int = 3, seconds: float = 5.0) -> dict[str, Any]:
    """Models first, on one deployment that grows; then queries, on the largest."""
    by_models: list[dict[str, Any]] = []
    with Stack() as stack:
        for count in MODELS:
            names = _register(stack, count)
            with _answering(stack, names):
                points = [_cost(stack, names, seconds) for _ in range(repeats)]
            by_models.append({"models": count, **medians(points, 1)})
            print(by_models[-1], flush=True)
        with _answering(stack, names):
            by_queries = _many(stack, names[0], _MARKS if seconds >= _LONG_S else _MARKS[:3])
    costs = [row["µs/query"] for row in by_models]
    later = [row["µs/query"] for row in by_queries[1:]]
    targets = [
        verdict("cost a query, 100 models ÷ 1", costs[-1] / costs[0], _FLAT, at_least=False),
        verdict("cost a query, last window ÷ 10⁴", later[-1] / later[0], _FLAT, at_least=False),
    ]
    result = {"repeats": repeats, "seconds": seconds, "models": by_models, "queries": by_queries, "targets": targets}
    save(growth=result)
    return result


def _register(stack: Stack, count: int) -> list[str]:
    """So many models with an application each; those that are there stay."""
    names = [f"m{number}" for number in range(count)]
    known = set(stack.connection.get_all_apps())
    for name in names:
        if name not in known:
            stack.connection.register_model(name, VERSION, "doubles")
            stack.connection.register_application(name, "doubles", slo_micros=20_000_000, cache_ttl_s=0)
            stack.connection.link_model_to_app(name, name)
    return names


@contextmanager
def _answering(stack: Stack, names: list[str]) -> Iterator[None]:
    ready = stack.folder / f"ready-{len(names)}"
    ready.unlink(missing_ok=True)
    partitions = str(DEFAULT_PARTITIONS * len(names))
    arguments = [stack.kafka.address, stack.redis.url, str(ready), partitions, *names]
    process = Process("responder", [sys.executable, "-m", "benchmarks.experiments.responder", *arguments])
    try:
        wait_until(ready.exists, _WAIT_S, lambda: process.log.read_text(errors="replace")[-2000:])
        for name in names:
            wait_until(lambda name=name: _answers(stack, name), _WAIT_S, f"answers of {name}")  # type: ignore[misc]  # a default binds the loop's variable
        yield
    finally:
        process.stop()


def _answers(stack: Stack, name: str) -> bool:
    return httpx.post(stack.url(name), json={"input": [0.0]}, timeout=30).is_success


def _cost(stack: Stack, names: list[str], seconds: float) -> dict[str, float]:
    """At a constant rate, models in turn."""
    requests = [http_request(f"/{name}/predict", b'{"input": [0.0]}') for name in names]
    (frontend,) = stack.frontend_processes()
    offer(("127.0.0.1", stack.port), requests, _RATE, 1)
    before_s = _cpu_s(frontend)
    answers = offer(("127.0.0.1", stack.port), requests, _RATE, seconds)
    taken_s = sorted(answer.latency_s for answer in answers)
    return {
        "µs/query": 1e6 * (_cpu_s(frontend) - before_s) / len(answers),
        "p50 ms": 1e3 * taken_s[len(taken_s) // 2],
        "frontend MiB": _mib(frontend),
        "errors": sum(answer.status != 200 for answer in answers),
    }


def _many(stack: Stack, name: str, marks: tuple[int, ...]) -> list[dict[str, Any]]:
    """Under full load, what each query has cost since the mark before."""
    bodies = stack.bodies("one", [[0.0]])
    (frontend,) = stack.frontend_processes()
    store = redis.Redis.from_url(stack.redis.url)
    start = _answered(stack)
    rows: list[dict[str, Any]] = []
    for mark in marks:
        before, before_s, errors = _answered(stack), _cpu_s(frontend), 0
        while (count := _answered(stack)) - start < mark:
            left = mark - (count - start)
            errors += stack.load(name, bodies, _CONCURRENCY, 1 if left < _FEW_LEFT else 5).errors
        if count > before:
            memory: Any = store.info("memory")
            rows.append(
                {
                    "queries so far": count - start,
                    "µs/query": round(1e6 * (_cpu_s(frontend) - before_s) / (count - before), 1),
                    "frontend MiB": _mib(frontend),
                    "store MiB": round(memory["used_memory"] / 2**20, 1),
                    "errors": errors,
                }
            )
            print(rows[-1], flush=True)
    store.close()
    return rows


def _answered(stack: Stack) -> int:
    counters = stack.counters()
    return int(sum(value for name, value in counters.items() if name.startswith("skysail_frontend_requests_total")))


def _cpu_s(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


def _mib(process: psutil.Process) -> float:
    return round(process.memory_info().rss / 2**20, 1)


def table(result: Mapping[str, Any]) -> str:
    """By models, by queries, targets."""
    parts = [
        f"At {_RATE:g} requests/s, models in turn:",
        markdown(result["models"]),
        f"At {_CONCURRENCY} connections, cost since the line before:",
        markdown(result["queries"]),
        markdown(result["targets"]),
    ]
    return "\n\n".join(parts)
