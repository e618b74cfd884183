"""What a worker says of itself, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skysail.topics.errors import UnavailableError
from skysail.topics.names import KeyNames
from skysail.topics.specs import ModelSpec, WorkerHeartbeat, WorkerState, decode_spec
from skysail.topics.store.connection import Command
from skysail.workers.heartbeat import Heartbeat, HeartbeatWriter
from skysail.workers.stats import WorkerStats
from tests.waiting import wait_until

SPEC = ModelSpec(name="m", version="1")
KEYS = KeyNames("t")


class Store:
    """Keeps what was written; can be away."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.tries = 0
        self.away = False
        self.closed = False

    def execute(self, commands: Sequence[Command]) -> list[Any]:
        self.tries += 1
        if self.away:
            message = "away"
            raise UnavailableError(message)
        self.commands += commands
        return [None] * len(commands)

    def close(self) -> None:
        self.closed = True

    @property
    def beats(self) -> list[WorkerHeartbeat]:
        return [decode_spec(WorkerHeartbeat, command[2]) for command in self.commands if command[0] == "SET"]


def writer(store: Store, stats: WorkerStats, interval_s: float = 60) -> HeartbeatWriter:
    return HeartbeatWriter(store, KEYS, Heartbeat("w", SPEC, stats), interval_s)


def test_rates_and_means_are_those_since_the_heartbeat_before() -> None:
    now_s = 0.0
    stats = WorkerStats()
    heartbeat = Heartbeat("w", SPEC, stats, lambda: now_s, lambda: 5)
    now_s, stats.batches, stats.rows, stats.queries, stats.predict_s = 2.0, 4, 40, 20, 0.02
    stats.outcomes = {"ok": 20}
    beat = heartbeat()
    assert (beat.batch_rows, beat.predict_ms, beat.queries_per_s) == (10.0, 5.0, 10.0)
    assert (beat.outcomes, beat.sent_ms, beat.model, beat.version) == ({"ok": 20}, 5, "m", "1")
    now_s = 3.0
    beat = heartbeat()
    assert (beat.batch_rows, beat.predict_ms, beat.queries_per_s) == (0.0, 0.0, 0.0)


def test_a_change_of_state_is_told_at_once() -> None:
    store, stats = Store(), WorkerStats()
    beats = writer(store, stats)
    beats.start()
    wait_until(lambda: store.beats, 5, "a first heartbeat")
    stats.state = WorkerState.READY
    beats.beat_now()
    wait_until(lambda: store.beats[-1].state is WorkerState.READY, 5, "the new state")
    beats.stop()


def test_a_worker_that_leaves_removes_its_heartbeat_last() -> None:
    store = Store()
    beats = writer(store, WorkerStats())
    beats.start()
    beats.stop()
    assert store.commands[-2:] == [("DEL", KEYS.worker("w")), ("ZREM", KEYS.workers, "w")]
    assert store.closed


def test_a_worker_that_failed_to_load_leaves_its_traceback_to_be_read() -> None:
    store, stats = Store(), WorkerStats()
    beats = writer(store, stats)
    beats.start()
    stats.error, stats.state = "Traceback ...", WorkerState.FAILED
    beats.stop()
    assert (store.beats[-1].state, store.beats[-1].error) == (WorkerState.FAILED, "Traceback ...")
    assert store.commands[-1][0] == "ZADD"


def test_a_store_that_is_away_is_tried_again_with_the_next_beat() -> None:
    store = Store()
    store.away = True
    beats = writer(store, WorkerStats(), interval_s=0.01)
    beats.start()
    wait_until(lambda: store.tries >= 3, 5, "three tries")
    store.away = False
    wait_until(lambda: store.beats, 5, "a heartbeat once the store is back")
    beats.stop()
