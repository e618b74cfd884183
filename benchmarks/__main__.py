"""`python -m benchmarks [NAME …]`: servers, workloads, experiments or `report`; without a name, everything but that."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from benchmarks.selection import GROUPS, Catalogue, Schedule, UnknownNameError, select

__all__ = ["main"]

#: An experiment: repeats and seconds in; it saves what it finds and returns it.
Experiment = Callable[[int, float], Any]


def main() -> None:
    """Run what is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to run; see --list")
    parser.add_argument("--list", action="store_true", help="list all names")
    parser.add_argument("--repeats", type=int, help="interleaved repeats of each server (default 3)")
    parser.add_argument("--seconds", type=float, help="of load at each point (default 5; 3 for servers alone)")
    parser.add_argument("--warm-up", type=float, dest="warm_up_s", help="seconds of load after a start (default 10)")
    parser.add_argument("--settle", type=float, dest="settle_s", help="seconds of load before each point (default 2)")
    arguments = parser.parse_args()
    catalogue = _catalogue()
    if arguments.list:
        print(_listing(catalogue))
        return
    try:
        plan = select(arguments.names, catalogue)
    except UnknownNameError as error:
        parser.error(str(error))
    schedule = _schedule(plan.schedule, arguments)
    from benchmarks.report import report
    from benchmarks.serving import compare_all

    compare_all(plan.comparisons, schedule)
    for name in plan.experiments:
        print(f"== {name}", flush=True)
        _experiments()[name](schedule.repeats, schedule.seconds)
    if plan.report:
        report(_tables())


def _schedule(schedule: Schedule, arguments: argparse.Namespace) -> Schedule:
    given = {name: getattr(arguments, name) for name in ("repeats", "seconds", "warm_up_s", "settle_s")}
    return replace(schedule, **{name: value for name, value in given.items() if value is not None})


def _catalogue() -> Catalogue:
    from benchmarks.servers import SERVERS
    from benchmarks.workloads import WORKLOADS

    workloads = {name: workload.servers for name, workload in WORKLOADS.items()}
    return Catalogue(servers=list(SERVERS), workloads=workloads, experiments=list(_experiments()))


def _experiments() -> Mapping[str, Experiment]:
    from benchmarks.batching import batch_under_load
    from benchmarks.experiments import EXPERIMENTS
    from benchmarks.resting import rest

    own: dict[str, Experiment] = {
        "rest": lambda _repeats, _seconds: rest(),
        "batching": lambda _repeats, _seconds: batch_under_load(),
    }
    return own | {name: _printing(module.run, module.table) for name, module in EXPERIMENTS.items()}


def _printing(run: Callable[..., Any], table: Callable[[Any], str]) -> Experiment:
    return lambda repeats, seconds: print(table(run(repeats, seconds)), flush=True)


def _tables() -> Mapping[str, Callable[[Mapping[str, Any]], str]]:
    from benchmarks.batching import table as batching_table
    from benchmarks.experiments import EXPERIMENTS
    from benchmarks.resting import table as rest_table

    others = {name.replace("-", "_"): module.table for name, module in EXPERIMENTS.items()}
    return {"idle": rest_table, "batching": batching_table, **others}


def _listing(catalogue: Catalogue) -> str:
    workloads = [f"  {name:<18} {', '.join(servers)}" for name, servers in catalogue.workloads.items()]
    groups = [f"  {name:<18} {', '.join(servers)}" for name, servers in GROUPS.items()]
    return "\n".join(
        [
            "servers:",
            *(f"  {name}" for name in catalogue.servers),
            "groups of servers:",
            *groups,
            "workloads, with the servers usually compared (`serving`: all of them):",
            *workloads,
            "experiments:",
            *(f"  {name}" for name in catalogue.experiments),
            "report: rewrite docs/benchmarks.md from the saved results",
        ]
    )


if __name__ == "__main__":
    main()
