"""One of four replicas is ten times slower: what the choice of the partition does to the slowest answers.

The client runs here, on real Kafka and real workers; queries leave at a constant rate. Round-robin is the same client
with another chooser.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import uvloop

from benchmarks.experiments.figures import markdown, medians, percentile, verdict
from benchmarks.experiments.models import slow_first
from benchmarks.experiments.stack import Stack
from benchmarks.results import save
from skysail.topics.client import PredictionClient, Target
from skysail.topics.kafka.partitions import PartitionChooser

__all__ = ["RoundRobin", "run", "table"]

SLEEP_MS, FACTOR, ROWS, REPLICAS = 5.0, 10.0, 8, 4
#: Of what the three healthy replicas can do. Round-robin gives the slow one a quarter of it, whatever it can do.
LOADS = (0.1, 0.25, 0.5)
_TARGET_LOAD = 0.25
_LIMIT = 0.25
_TIMEOUT_MS = 60_000
_TICK_S = 0.001


class RoundRobin(PartitionChooser):
    """Partitions in turn, whatever is outstanding."""

    __slots__ = ()

    def take(self, rows: int) -> int:
        """The next partition."""
        self._last = (self._last + 1) % self._count
        self.outstanding[self._last] += rows
        return self._last


_CHOOSERS: dict[str, type[PartitionChooser]] = {"fewest outstanding": PartitionChooser, "round-robin": RoundRobin}


def run(repeats: int = 3, seconds: float = 5.0) -> dict[str, Any]:
    """Both choosers at each load, interleaved."""
    points: dict[tuple[float, str], list[dict[str, float]]] = defaultdict(list)
    with Stack() as stack:
        predict = slow_first(SLEEP_MS, FACTOR, stack.folder / "slow")
        options = {"num_replicas": REPLICAS, "partitions": REPLICAS, "batch_size": ROWS, "objective_ms": 1000}
        stack.deploy("straggler", predict, slo_ms=_TIMEOUT_MS, **options)
        for _ in range(repeats):
            for load in LOADS:
                for name, chooser in _CHOOSERS.items():
                    points[load, name].append(_measured(stack, chooser, load, seconds))
                    print(load, name, points[load, name][-1], flush=True)
    rows = [_row(load, {name: medians(points[load, name]) for name in _CHOOSERS}) for load in LOADS]
    ratio = next(row["p99 ratio"] for row in rows if row["load"] == _TARGET_LOAD)
    targets = [verdict(f"p99 ÷ round-robin's at {_TARGET_LOAD:.0%} load", ratio, _LIMIT, at_least=False)]
    result = {"repeats": repeats, "seconds": seconds, "rows": rows, "targets": targets}
    save(stragglers=result)
    return result


def _row(load: float, by_name: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    fewest, turns = by_name["fewest outstanding"], by_name["round-robin"]
    return {
        "load": load,
        "queries/s": fewest["rate"],
        "fewest: p50 ms": fewest["p50_ms"],
        "fewest: p99 ms": fewest["p99_ms"],
        "fewest: to the slow one": fewest["slow_share"],
        "round-robin: p50 ms": turns["p50_ms"],
        "round-robin: p99 ms": turns["p99_ms"],
        "round-robin: to the slow one": turns["slow_share"],
        "p99 ratio": round(fewest["p99_ms"] / turns["p99_ms"], 3),
        "errors": fewest["errors"] + turns["errors"],
    }


def _measured(stack: Stack, chooser: type[PartitionChooser], load: float, seconds: float) -> dict[str, float]:
    rate = load * (REPLICAS - 1) * ROWS * 1000 / SLEEP_MS
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_ask(stack, chooser, rate, seconds))


async def _ask(stack: Stack, chooser: type[PartitionChooser], rate: float, seconds: float) -> dict[str, float]:
    client = PredictionClient({"bootstrap.servers": stack.kafka.address}, stack.redis.url)
    await client.start()
    try:
        target = client.target("straggler")
        target.lane.chooser = chooser(target.spec.partitions)
        await asyncio.gather(*[client.ask(target, b"[[0.0]]", timeout_ms=_TIMEOUT_MS) for _ in range(REPLICAS)])
        return await _paced(client, target, rate, seconds)
    finally:
        await client.close()


async def _paced(client: PredictionClient, target: Target, rate: float, seconds: float) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    taken_s: list[float] = []
    slow = errors = 0

    async def one(due_s: float) -> None:
        nonlocal slow, errors
        answer = await client.ask(target, b"[[0.0]]", timeout_ms=_TIMEOUT_MS)
        taken_s.append(loop.time() - start_s - due_s)
        errors += answer.outcome != "ok"
        slow += answer.value == b"[%d]" % FACTOR

    total = int(rate * seconds)
    tasks: list[asyncio.Task[None]] = []
    while len(tasks) < total:
        due = min(total, int((loop.time() - start_s) * rate) + 1)
        tasks += [loop.create_task(one(number / rate)) for number in range(len(tasks), due)]
        await asyncio.sleep(_TICK_S)
    await asyncio.gather(*tasks)
    return {
        "rate": rate,
        "p50_ms": 1e3 * percentile(taken_s, 0.5),
        "p99_ms": 1e3 * percentile(taken_s, 0.99),
        "slow_share": slow / total,
        "errors": errors,
    }


def table(result: Mapping[str, Any]) -> str:
    """One line a load, and the target."""
    return markdown(result["rows"]) + "\n\n" + markdown(result["targets"])
