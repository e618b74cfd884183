"""What is counted, and that nobody outside can make it grow."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from skysail.frontend.metrics import BUCKETS, FrontendMetrics
from skysail.topics.errors import RejectedError, SkysailError, UnavailableError
from skysail.topics.specs import BatchSpec
from tests.frontend.fakes import Stage, app, model

MakeStage = Callable[..., Stage]
INFER = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP64", "data": [1]}]}


def ones(batch: Any) -> list[int]:
    return [1] * len(batch)


def requests(metrics: FrontendMetrics) -> dict[tuple[str, str, str, str], float]:
    return {
        (labels["app"], labels["model"], labels["version"], labels["outcome"]): value
        for labels, value in samples(metrics, "skysail_frontend_requests_total")
    }


def samples(metrics: FrontendMetrics, name: str) -> list[tuple[Mapping[str, str], float]]:
    return [
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(metrics.render(0).decode())
        for sample in family.samples
        if sample.name == name
    ]


async def test_requests_are_counted_by_application_model_version_and_outcome(make_stage: MakeStage) -> None:
    stage = make_stage(ones, model(), app())
    await stage.predict({"input": [1]})
    await stage.predict({"input_batch": [[1], [2]]})
    await stage.predict({"input": "x"})
    await stage.predict({"input": [1], "version": "9"})
    await stage.post("/v2/models/m/infer", INFER)
    await stage.post("/v2/models/m/infer", {})
    stage.client.answers = lambda _: ("expired", "late")
    await stage.predict({"input": [1]})
    assert requests(stage.metrics) == {
        ("a", "m", "1", "ok"): 2,
        ("a", "", "", "bad_input"): 2,
        ("", "m", "1", "ok"): 1,
        ("", "m", "1", "bad_input"): 1,
        ("a", "m", "1", "expired"): 1,
    }


async def test_durations_fall_into_cumulative_buckets(make_stage: MakeStage) -> None:
    metrics = FrontendMetrics()
    for duration_s in (0.0001, 0.0005, 0.002, 3.0, 100.0):
        metrics.observe("a", "m", "1", "ok", duration_s)
    found = {
        labels["le"]: value for labels, value in samples(metrics, "skysail_frontend_request_duration_seconds_bucket")
    }
    assert (found["0.0005"], found["0.0025"], found["5.0"], found["10.0"], found["+Inf"]) == (2, 3, 4, 4, 5)
    assert len(found) == len(BUCKETS) + 1
    ((_, total),) = samples(metrics, "skysail_frontend_request_duration_seconds_sum")
    assert total == pytest.approx(103.0026)
    del make_stage


async def test_a_scanner_cannot_grow_the_series(make_stage: MakeStage) -> None:
    stage = make_stage(ones, model())
    await scan(stage, "aaa")
    before = len(stage.metrics.render(0).splitlines())
    for first in string.ascii_lowercase:
        await scan(stage, f"{first}-secret")
    text = stage.metrics.render(0).decode()
    assert len(text.splitlines()) == before
    assert "secret" not in text


async def scan(stage: Stage, name: str) -> None:
    await stage.post(f"/{name}/predict", {"input": [1]})
    await stage.post(f"/{name}/predict", {"input": "1"})
    await stage.predict({"input": [1], "version": name})
    await stage.post(f"/{name}/update", {})
    await stage.post(f"/v2/models/{name}/infer", INFER)
    await stage.post(f"/v2/models/m/versions/{name}/infer", INFER)
    await stage.post("/v2/models/m/infer", {"inputs": [], "id": name})
    await stage.get(f"/v2/models/{name}")
    await stage.get(f"/{name}")


async def test_predictions_are_counted_by_where_they_came_from(make_stage: MakeStage) -> None:
    stage = make_stage(ones, model())
    for source in ("model", "local-cache", "local-cache", "shared-cache"):
        stage.client.source = source
        await stage.predict({"input": [1]})
        await stage.predict({"input_batch": [[1]]})
    stage.client.answers = lambda _: ("expired", "late")
    await stage.predict({"input": [1]})
    hits = {labels["tier"]: value for labels, value in samples(stage.metrics, "skysail_frontend_cache_hits_total")}
    assert hits == {"local": 4, "shared": 2}
    assert samples(stage.metrics, "skysail_frontend_cache_misses_total") == [({}, 2)]


async def test_refusals_are_counted_by_their_reason(make_stage: MakeStage) -> None:
    stage = make_stage(ones, [model(batch=BatchSpec(max_rows=1))], app(), max_body_bytes=100)
    refuse: list[SkysailError] = [RejectedError("full"), UnavailableError("away"), UnavailableError("away")]
    stage.client.refuse = lambda _: refuse.pop(0)
    await stage.predict({"input": [1]})
    await stage.predict({"input_batch": [[1], [2]]})
    await stage.predict({"input": [1] * 100})
    await stage.predict({"input": "x"})
    counted = {labels["reason"]: value for labels, value in samples(stage.metrics, "skysail_frontend_rejected_total")}
    assert counted == {"too_many_in_flight": 1, "unavailable": 2, "too_large": 1}


async def test_the_exposition_is_what_prometheus_reads(make_stage: MakeStage) -> None:
    stage = make_stage(ones, model())
    stage.client.in_flight = 3
    response = await stage.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    assert families["skysail_frontend_in_flight"].samples[0].value == 3
    assert families["skysail_frontend_build_info"].samples[0].labels == {"version": "0.1.0"}
    assert "process_resident_memory_bytes" in families


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_processes_of_one_port_show_the_total_of_all(tmp_path: Path) -> None:
    clock = Clock()
    one, two = FrontendMetrics(tmp_path, clock), FrontendMetrics(tmp_path, clock)
    one.observe("a", "m", "1", "ok", 0.1)
    for _ in range(3):
        two.observe("a", "m", "1", "ok", 0.1)
    two.observe("b", "m", "1", "ok", 0.1)
    two.count_source("model")
    two.save(5)
    assert requests(one) == {("a", "m", "1", "ok"): 4, ("b", "m", "1", "ok"): 1}
    assert b"skysail_frontend_in_flight 7.0" in one.render(2)
    assert b"skysail_frontend_cache_misses_total 1.0" in one.render(2)
    # What one has shown, the other shows as well, saved or not: totals never fall.
    one.observe("a", "m", "1", "ok", 0.1)
    shown = requests(one)
    assert requests(two) == shown == {("a", "m", "1", "ok"): 5, ("b", "m", "1", "ok"): 1}


def test_a_folder_that_takes_nothing_more_does_not_hide_the_metrics(tmp_path: Path) -> None:
    metrics = FrontendMetrics(tmp_path / "gone")
    metrics.observe("a", "m", "1", "ok", 0.1)
    assert requests(metrics) == {("a", "m", "1", "ok"): 1}
    with pytest.raises(OSError, match="gone"):
        metrics.save(0)


def test_a_process_that_has_ended_keeps_its_counts_and_loses_what_it_had_in_flight(tmp_path: Path) -> None:
    clock = Clock()
    killed, other = FrontendMetrics(tmp_path, clock), FrontendMetrics(tmp_path, clock)
    killed.observe("a", "m", "1", "ok", 0.1)
    killed.save(9)
    assert b"skysail_frontend_in_flight 10.0" in other.render(1)
    clock.now += 6
    assert b"skysail_frontend_in_flight 1.0" in other.render(1)
    assert requests(other) == {("a", "m", "1", "ok"): 1}


def test_figures_of_one_process_are_left_out_where_there_are_several(tmp_path: Path) -> None:
    assert b"process_cpu_seconds_total" in FrontendMetrics().render(0)
    assert b"process_cpu_seconds_total" not in FrontendMetrics(tmp_path).render(0)
