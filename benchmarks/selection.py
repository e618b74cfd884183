"""What to run, from the names that are given. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

__all__ = ["QUICK", "THOROUGH", "Catalogue", "Comparison", "Plan", "Schedule", "UnknownNameError", "select"]

_REFERENCE = "skysail"
_QUICK_WORKLOADS = 2
#: Names for several servers at once.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "embedded": ("skysail-embedded",),
    "mosec-best": ("mosec-0", "mosec", "mosec-5", "mosec-10"),
}


class UnknownNameError(ValueError):
    """No server, workload or experiment has the name that was given."""


@dataclass(frozen=True)
class Schedule:
    """How long to measure.

    repeats: of each server, interleaved with the others'.
    seconds: of load at each point.
    settle_s: of the same load before that.
    warm_up_s: of the highest load after a server's start. A JVM compiles what is hot for some seconds, on the cores
        that all share.
    """

    repeats: int
    seconds: float
    settle_s: float = 2.0
    warm_up_s: float = 10.0


THOROUGH = Schedule(repeats=3, seconds=5.0)
#: One peer beside Skysail on two workloads stays under eight minutes.
QUICK = Schedule(repeats=3, seconds=3.0)


@dataclass(frozen=True)
class Catalogue:
    """Everything that has a name: servers, workloads with the servers usually compared on each, experiments."""

    servers: Collection[str]
    workloads: Mapping[str, tuple[str, ...]]
    experiments: Collection[str]

    def names(self) -> list[str]:
        """All names, as they may be given."""
        return [*self.servers, *GROUPS, *self.workloads, *self.experiments, "serving", "report"]


@dataclass(frozen=True)
class Comparison:
    """Servers beside each other on one workload."""

    workload: str
    servers: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What to run, in this order."""

    comparisons: tuple[Comparison, ...]
    experiments: tuple[str, ...]
    report: bool
    schedule: Schedule


def select(names: Sequence[str], catalogue: Catalogue) -> Plan:
    """Names to a plan: servers run on the first two workloads, workloads with their usual servers, both: the product.

    No name: everything. Skysail on Kafka is in every comparison, as what the others are set against.

    Raises:
        UnknownNameError: with what the name may have meant.
    """
    _check(names, catalogue)
    if not names:
        return Plan(_usual(catalogue.workloads), tuple(catalogue.experiments), report=False, schedule=THOROUGH)
    servers = _servers(names, catalogue)
    workloads = {name: usual for name, usual in catalogue.workloads.items() if name in names or "serving" in names}
    if servers:
        chosen = list(workloads) or list(catalogue.workloads)[:_QUICK_WORKLOADS]
        comparisons = tuple(Comparison(workload, servers) for workload in chosen)
    else:
        comparisons = _usual(workloads)
    return Plan(
        comparisons,
        tuple(name for name in catalogue.experiments if name in names),
        report="report" in names,
        schedule=QUICK if servers and not workloads else THOROUGH,
    )


def _usual(workloads: Mapping[str, tuple[str, ...]]) -> tuple[Comparison, ...]:
    return tuple(Comparison(name, servers) for name, servers in workloads.items())


def _servers(names: Sequence[str], catalogue: Catalogue) -> tuple[str, ...]:
    """The reference first, then each server once; none when no server is named."""
    found = [server for name in names for server in GROUPS.get(name, (name,)) if server in catalogue.servers]
    return tuple(dict.fromkeys([_REFERENCE, *found])) if found else ()


def _check(names: Sequence[str], catalogue: Catalogue) -> None:
    known = catalogue.names()
    for name in names:
        if name not in known:
            close = get_close_matches(name, known)
            hint = f"did you mean {' or '.join(close)}?" if close else f"expected one of {', '.join(known)}"
            message = f"nothing is named {name!r}: {hint}"
            raise UnknownNameError(message)
