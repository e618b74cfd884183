"""Requests per second and latency beside other servers: one after the other, interleaved over the repeats."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from benchmarks.load import Measurement, measure
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.results import Row, save, summarise, table
from benchmarks.servers import SERVERS
from benchmarks.workloads import WORKLOADS, Workload

__all__ = ["CONCURRENCIES", "compare"]

CONCURRENCIES = (1, 32, 128)
#: A JVM compiles what is hot for some seconds after its start, on the cores that all share.
_WARM_UP_S = 10.0

Points = dict[tuple[str, int], list[Measurement]]


def compare(names: Sequence[str], *, repeats: int, seconds: float) -> list[Row]:
    """Measure the named servers on each workload, print the table and save the rows."""
    rows: list[Row] = []
    versions: dict[str, str] = {}
    for workload in WORKLOADS.values():
        workload.prepare()
        points: Points = defaultdict(list)
        for repeat in range(repeats):
            for name in names:
                print(f"{workload.name}: {name}, repeat {repeat + 1} of {repeats}", flush=True)
                versions |= _one_run(name, workload, points, seconds)
        rows += [
            summarise(workload.name, SERVERS[name].name, SERVERS[name].settings, concurrency, points[name, concurrency])
            for name in names
            for concurrency in CONCURRENCIES
        ]
    save(machine=describe_machine(), versions=describe_versions(versions), rows=rows)
    print(table(rows))
    return rows


def _one_run(name: str, workload: Workload, points: Points, seconds: float) -> dict[str, str]:
    with SERVERS[name](workload) as server:
        measure(server.url, workload.bodies_path, 64, _WARM_UP_S)
        for concurrency in CONCURRENCIES:
            points[name, concurrency].append(measure(server.url, workload.bodies_path, concurrency, seconds))
        return server.versions()
