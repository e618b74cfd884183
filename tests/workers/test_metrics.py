"""What a scrape shows."""

from __future__ import annotations

import urllib.request

from skysail.topics.records import Outcome
from skysail.workers.finished import Finished
from skysail.workers.metrics import WorkerMetrics
from skysail.workers.recording import Recorder
from skysail.workers.stats import WorkerStats
from tests.services.ports import free_port
from tests.workers.samples import query_of, record_of, work_of


def test_a_scrape_shows_batches_outcomes_and_dead_letters_by_model_and_version() -> None:
    port = free_port()
    stats = WorkerStats()
    metrics = WorkerMetrics("m", "1", Outcome)
    recorder = Recorder(stats, metrics)
    finished = Finished()
    finished.rows, finished.predict_us = 3, 2000
    finished.fail(work_of(query_of()), Outcome.BAD_INPUT, "why")
    finished.bury(record_of(query_of()), "undecodable", "why")
    recorder.ran(2, finished, queue_s=0.5, cap=64)
    recorder.stored(finished)
    recorder.stored(finished)
    metrics.serve(port)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    own = 'model="m",version="1"'
    for line in (
        f"skysail_worker_batch_rows_sum{{{own}}} 3.0",
        f"skysail_worker_predict_seconds_sum{{{own}}} 0.002",
        f"skysail_worker_queue_seconds_sum{{{own}}} 0.5",
        f"skysail_worker_batch_cap_rows{{{own}}} 64.0",
        f"skysail_worker_dead_letters_total{{{own}}} 2.0",
        'skysail_worker_outcomes_total{model="m",outcome="bad_input",version="1"} 2.0',
        'skysail_worker_outcomes_total{model="m",outcome="ok",version="1"} 0.0',
    ):
        assert line in text
    assert stats.outcomes == {"bad_input": 2}
    assert (stats.batches, stats.rows, stats.queries, stats.dead_letters) == (1, 3, 2, 2)
