import json
from dataclasses import replace
from pathlib import Path

from benchmarks.load import Measurement
from benchmarks.results import Row, merge, ratios, read, save, summarise, table

OURS = Row("logistic", "skysail", "kafka", 32, 300.0, 290.0, 310.0, 1.0, 2.0, 0, 3)
MOSEC = replace(OURS, server="mosec", settings="max_wait_time 1", rps=200.0)
MOSEC_5 = replace(MOSEC, settings="max_wait_time 5", rps=400.0)


def test_a_summary_has_medians_the_range_and_all_errors() -> None:
    points = [Measurement(rps, rps / 10, rps / 5, 1) for rps in (30.0, 10.0, 20.0)]
    row = summarise("forest", "mosec", "max_wait_time 1", 32, points)
    assert (row.rps, row.rps_min, row.rps_max) == (20.0, 10.0, 30.0)
    assert (row.p50_ms, row.p99_ms, row.errors, row.repeats) == (2.0, 4.0, 3, 3)


def test_a_table_sets_skysail_against_each_server() -> None:
    lines = table([MOSEC, OURS]).splitlines()
    assert lines[2].endswith("| 1.00 |")
    assert "mosec (max_wait_time 1)" in lines[3]
    assert lines[3].endswith("| 1.50 |")


def test_without_a_reference_a_table_claims_no_ratio() -> None:
    assert table([MOSEC]).splitlines()[2].endswith("| – |")


def test_ratios_stand_beside_the_best_of_several_settings() -> None:
    text = ratios([OURS, MOSEC, MOSEC_5])
    assert "| logistic | mosec (max_wait_time 1) | 1.50 |" in text
    assert "| logistic | mosec (best of 2 settings) | 0.75 |" in text


def test_a_run_replaces_all_rows_of_its_workloads_and_no_others() -> None:
    forest = replace(OURS, workload="forest")
    known = merge({}, {"rows": [MOSEC, MOSEC_5, forest]})
    merged = merge(known, {"rows": [OURS]})
    assert [(row["workload"], row["server"]) for row in merged["rows"]] == [
        ("forest", "skysail"),
        ("logistic", "skysail"),
    ]


def test_comparisons_and_experiments_are_saved_apart(tmp_path: Path) -> None:
    save(folder=tmp_path, machine={"cores": 2}, versions={"mosec": "1"}, rows=[OURS])
    save(folder=tmp_path, idle={"total": 1})
    latest = json.loads((tmp_path / "latest.json").read_text())
    assert set(latest) == {"machine", "versions", "rows"}
    assert json.loads((tmp_path / "experiments.json").read_text()) == {"idle": {"total": 1}}
    assert read(tmp_path)["rows"][0]["rps"] == 300.0
