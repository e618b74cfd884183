from __future__ import annotations

import math
import struct
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.experiments.cache_hits import mixed_rows
from benchmarks.experiments.figures import markdown, medians, percentile, verdict
from benchmarks.experiments.models import noop, recorded, slow_first
from benchmarks.experiments.recording import Batch, read_batches, row_percentile
from benchmarks.experiments.stages import server_timing


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values)


def test_a_percentile_of_nothing_is_no_number_and_meets_no_target() -> None:
    nothing = percentile([], 0.99)
    assert math.isnan(nothing)
    assert not verdict("p99", nothing, 1, at_least=False)["met"]
    assert not verdict("rate", nothing, 1, at_least=True)["met"]


def test_medians_are_taken_figure_by_figure() -> None:
    assert medians([{"a": 1, "b": 9}, {"a": 5, "b": 7}, {"a": 3, "b": 8}]) == {"a": 3, "b": 8}


def test_a_table_aligns_figures_to_the_right_and_shows_what_is_missing() -> None:
    assert markdown([{"name": "x", "rate": 12345.6, "late": None}]).splitlines() == [
        "| name | rate | late |",
        "|---|--:|---|",
        "| x | 12,346 | – |",
    ]


def test_a_recorded_model_leaves_rows_and_seconds_of_every_batch(tmp_path: Path) -> None:
    log = tmp_path / "log"
    predict = recorded(noop, log)
    assert predict([1, 2, 3]) == [0, 0, 0]
    predict([1])
    assert [batch.rows for batch in read_batches(log)] == [3, 1]
    assert all(batch.duration_s >= 0 for batch in read_batches(log))


def test_an_entry_that_is_still_being_written_is_not_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(struct.pack("<dId", 1.0, 2, 3.0) + b"half")
    assert read_batches(log) == [Batch(1.0, 2, 3.0)]
    assert read_batches(log, since_s=1.5) == []


def test_a_batch_counts_once_for_every_row_in_the_percentile_of_rows() -> None:
    batches = [Batch(0, 1, 0.5), Batch(1, 99, 0.1)]
    assert row_percentile(batches, 0.99) == 0.1
    assert row_percentile(batches, 1) == 0.5


def test_only_the_first_replica_claims_to_be_slow(tmp_path: Path) -> None:
    claim = tmp_path / "slow"
    first, second = slow_first(0.01, 10, claim), slow_first(0.01, 10, claim)
    assert first([0]) == [10]
    assert second([0]) == [1]
    assert first([0, 0]) == [10, 10]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8, 0.9])
def test_the_rows_that_repeat_are_the_share_asked_for_and_the_others_are_unique(share: float) -> None:
    fresh = count(1)
    rows = [*mixed_rows([0.0, 7.0], share, 500, fresh), *mixed_rows([0.0, 7.0], share, 500, fresh)]
    hot = [row[0] for row in rows if row[0] < 0]
    unique = [row[0] for row in rows if row[0] >= 0]
    assert len(hot) == share * 1000
    assert len(set(hot)) <= 10
    assert len(set(unique)) == len(unique)


def test_server_timing_is_read_by_stage() -> None:
    head = b"HTTP/1.1 200 OK\r\nServer-Timing: queue;dur=0.050, predict;dur=1.250, total;dur=2.000\r\nx: y"
    assert server_timing(head) == {"queue": 0.05, "predict": 1.25, "total": 2.0}


def test_an_answer_without_server_timing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no Server-Timing"):
        server_timing(b"HTTP/1.1 200 OK\r\nx: y")
