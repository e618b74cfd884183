"""Counters of one frontend process: plain integers on the hot path, Prometheus text at scrape.

With several processes on one port a scrape reaches one of them at random, so each leaves its numbers in a shared folder
once a second and whoever is scraped adds them up, those of processes that have ended included: totals never fall.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import msgspec
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from skysail.frontend.http import DISCONNECTED
from skysail.topics import __version__
from skysail.topics.errors import RejectedError, SkysailError
from skysail.topics.records import Outcome

__all__ = ["FrontendMetrics", "outcome_of"]

#: Seconds.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: What a process that was silent for so long had in flight is gone with it.
_SILENT_S = 5.0

#: Refusals of which a caller, or whoever runs this, may be rid by doing something else than mending the input.
_REASONS = {413: "too_large", 429: "too_many_in_flight", 503: "unavailable"}
_BY_STATUS = {outcome.http_status: outcome for outcome in Outcome}
_Labels = tuple[str, str, str, str]  # app, model, version, outcome


def outcome_of(error: SkysailError) -> str:
    """The `outcome` label of a request that never became a query."""
    if isinstance(error, RejectedError):
        return Outcome.REJECTED
    if error.status == DISCONNECTED:
        return "disconnected"
    return _BY_STATUS.get(error.status, Outcome.BAD_INPUT)


class _Series(msgspec.Struct):
    """Requests with one set of labels."""

    counts: list[int]
    sum_s: float = 0.0


class _Numbers(msgspec.Struct):
    """Everything that one process counts; adds up. `saved_s` is unix time."""

    requests: dict[str, _Series]
    sources: dict[str, int]
    rejected: dict[str, int]
    in_flight: int = 0
    saved_s: float = 0.0


class FrontendMetrics(Collector):
    """Counts requests, and renders them.

    Args:
        shared: folder where the processes of one port leave their numbers; None for a single process.
        clock: unix seconds.
    """

    def __init__(self, shared: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self._series: dict[_Labels, _Series] = {}
        self._numbers = _Numbers({}, {}, {})
        self._shared = shared
        self._name = f"{uuid4().hex}.json"  # not the process id: those come again, and totals would fall
        self._clock = clock
        self._registry = CollectorRegistry()
        self._registry.register(self)
        if shared is None:  # of several processes each would show its own, and a counter would jump up and down
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)

    def observe(self, app: str, model: str, version: str, outcome: str, duration_s: float) -> None:
        """One request was answered. Labels must be names that are registered: each set is kept for good."""
        labels = (app, model, version, outcome)
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = _Series([0] * (len(BUCKETS) + 1))
            self._numbers.requests["\0".join(labels)] = series
        series.counts[bisect_left(BUCKETS, duration_s)] += 1
        series.sum_s += duration_s

    def count_source(self, source: str) -> None:
        """A prediction came from the model or from a cache."""
        sources = self._numbers.sources
        sources[source] = sources.get(source, 0) + 1

    def count_rejection(self, error: SkysailError) -> None:
        """A record or request was refused with this error. Those that ask for other input are outcomes only."""
        reason = _REASONS.get(error.status)
        if reason is not None:
            rejected = self._numbers.rejected
            rejected[reason] = rejected.get(reason, 0) + 1

    def save(self, in_flight: int) -> None:
        """Leave the numbers for the other processes. Raises OSError when the folder does not take them."""
        self._numbers.in_flight = in_flight
        if self._shared is not None:
            self._numbers.saved_s = self._clock()
            fresh = self._shared / f"{self._name}.new"
            fresh.write_bytes(msgspec.json.encode(self._numbers))
            fresh.replace(self._shared / self._name)

    def _all(self) -> Iterator[_Numbers]:
        yield self._numbers
        if self._shared is not None:
            oldest_s = self._clock() - _SILENT_S
            for path in sorted(self._shared.glob("*.json")):
                if path.name != self._name:
                    numbers = msgspec.json.decode(path.read_bytes(), type=_Numbers)
                    if numbers.saved_s < oldest_s:
                        numbers.in_flight = 0
                    yield numbers

    def render(self, in_flight: int) -> bytes:
        """The exposition text, totals over all processes of the port. To be called where `observe` is."""
        # What is shown now, the next process to be scraped must show as well: a total that falls looks like a restart.
        with suppress(OSError):  # then it may fall, and the watch has told why
            self.save(in_flight)
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: labels come with traffic."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus-client at a scrape."""
        requests: dict[str, _Series] = {}
        sources: Counter[str] = Counter()
        rejected: Counter[str] = Counter()
        in_flight = 0
        for numbers in self._all():
            in_flight += numbers.in_flight
            sources.update(numbers.sources)
            rejected.update(numbers.rejected)
            for key, series in numbers.requests.items():
                total = requests.setdefault(key, _Series([0] * (len(BUCKETS) + 1)))
                total.counts = [a + b for a, b in zip(total.counts, series.counts, strict=True)]
                total.sum_s += series.sum_s
        yield from _request_families(requests)
        yield from _other_families(sources, rejected, in_flight)


def _request_families(requests: dict[str, _Series]) -> Iterator[Metric]:
    names = ("app", "model", "version", "outcome")
    total = CounterMetricFamily("skysail_frontend_requests", "Requests answered, by outcome.", labels=names)
    duration = HistogramMetricFamily(
        "skysail_frontend_request_duration_seconds", "From the request's arrival to its answer.", labels=names
    )
    for key, series in sorted(requests.items()):
        labels = key.split("\0")
        total.add_metric(labels, sum(series.counts))
        cumulated, buckets = 0, []
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), series.counts, strict=True):
            cumulated += count
            buckets.append((bound, cumulated))
        duration.add_metric(labels, buckets, series.sum_s)
    yield total
    yield duration


def _other_families(sources: Counter[str], rejected: Counter[str], in_flight: int) -> Iterator[Metric]:
    hits = CounterMetricFamily("skysail_frontend_cache_hits", "Answers from a cache.", labels=("tier",))
    for tier in ("local", "shared"):
        hits.add_metric((tier,), sources[f"{tier}-cache"])
    yield hits
    misses = CounterMetricFamily("skysail_frontend_cache_misses", "Answers that a worker computed.")
    misses.add_metric((), sources["model"])
    yield misses
    refusals = CounterMetricFamily("skysail_frontend_rejected", "Refused, with a reason.", labels=("reason",))
    for reason in _REASONS.values():
        refusals.add_metric((reason,), rejected[reason])
    yield refusals
    gauge = GaugeMetricFamily("skysail_frontend_in_flight", "Queries without an outcome yet.")
    gauge.add_metric((), in_flight)
    yield gauge
    build = GaugeMetricFamily("skysail_frontend_build_info", "1, labelled with the version.", labels=("version",))
    build.add_metric((__version__,), 1)
    yield build
