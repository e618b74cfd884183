"""Requests per second and latency beside other servers: one after the other, interleaved over the repeats."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from benchmarks.load import Measurement, measure
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.processes import NotServingError
from benchmarks.results import RESULTS, Row, read, save, summarise, table
from benchmarks.selection import Comparison, Schedule
from benchmarks.servers import PEERS, SERVERS, PeerUnavailableError
from benchmarks.workloads import WORKLOADS, Workload

__all__ = ["CONCURRENCIES", "compare", "compare_all"]

CONCURRENCIES = (1, 32, 128)

Points = dict[tuple[str, int], list[Measurement]]


def compare_all(comparisons: Sequence[Comparison], schedule: Schedule) -> None:
    """Each comparison in turn; what is measured is saved and plotted after each. Prints the table in the end."""
    from benchmarks.plots import plot_workload

    found: list[Row] = []
    for comparison in comparisons:
        rows = compare(comparison, schedule)
        print(f"plot: {plot_workload(rows, RESULTS)}")
        found += rows
    if found:
        print(table(found))


def compare(comparison: Comparison, schedule: Schedule) -> list[Row]:
    """Measure the servers on one workload and save the rows. A peer that does not run here is named and left out."""
    workload = WORKLOADS[comparison.workload]
    workload.prepare()
    points: Points = defaultdict(list)
    versions: dict[str, str] = {}
    unavailable: dict[str, str] = {}
    for repeat in range(schedule.repeats):
        for name in comparison.servers:
            if name in unavailable:
                continue
            print(f"{workload.name}: {name}, repeat {repeat + 1} of {schedule.repeats}", flush=True)
            try:
                versions |= _one_run(name, workload, points, schedule)
            except (PeerUnavailableError, NotServingError) as error:
                if name not in PEERS:
                    raise
                print(f"left out: {error}", flush=True)
                unavailable[name] = str(error).splitlines()[0]
    rows = [
        summarise(workload.name, SERVERS[name].name, SERVERS[name].settings, concurrency, points[name, concurrency])
        for name in comparison.servers
        for concurrency in CONCURRENCIES
        if points[name, concurrency]
    ]
    missing = {**read().get("unavailable", {}), workload.name: unavailable}
    save(machine=describe_machine(), versions=describe_versions(versions), rows=rows, unavailable=missing)
    return rows


def _one_run(name: str, workload: Workload, points: Points, schedule: Schedule) -> dict[str, str]:
    with SERVERS[name](workload) as server:
        measure(server.url, server.bodies_path, CONCURRENCIES[-1], schedule.warm_up_s)
        for concurrency in CONCURRENCIES:
            measure(server.url, server.bodies_path, concurrency, schedule.settle_s)
            points[name, concurrency].append(measure(server.url, server.bodies_path, concurrency, schedule.seconds))
        return server.versions()
