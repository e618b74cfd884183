"""The consumer's second owner: steps in only when the first is long away, and never at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from skysail.workers.keeper import EXIT_PREDICT_TIMEOUT, ConsumerKeeper
from tests.waiting import wait_until


class Calls:
    """Counts `keep_alive`; can be held inside it."""

    def __init__(self) -> None:
        self.count = 0
        self.inside = threading.Event()
        self.let_go = threading.Event()
        self.let_go.set()

    def __call__(self) -> None:
        self.count += 1
        self.inside.set()
        self.let_go.wait(10)


@contextmanager
def started(keeper: ConsumerKeeper) -> Iterator[ConsumerKeeper]:
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()


def test_while_the_owner_is_long_away_the_group_is_kept_again_and_again() -> None:
    calls = Calls()
    with started(ConsumerKeeper(calls, after_s=0.02)) as keeper:
        keeper.lend()
        wait_until(lambda: calls.count >= 3, 5, "kept alive three times")
        keeper.reclaim()


def test_a_consumer_that_is_not_lent_or_not_for_long_is_left_alone() -> None:
    calls = Calls()
    now_s = 0.0
    keeper = ConsumerKeeper(calls, after_s=0.02, clock=lambda: now_s)
    keeper._lock.acquire()
    now_s += 100
    assert not keeper._is_long_lent()
    keeper.lend()
    now_s += 0.019
    assert not keeper._is_long_lent()
    now_s += 0.002
    assert keeper._is_long_lent()
    keeper._serve()
    assert calls.count == 1
    keeper.reclaim()
    keeper._serve()  # comes too late: the owner has it back
    assert calls.count == 1


def test_the_owner_gets_the_consumer_back_only_when_keep_alive_has_ended() -> None:
    calls = Calls()
    calls.let_go.clear()
    back = threading.Event()
    with started(ConsumerKeeper(calls, after_s=0.01)) as keeper:
        keeper.lend()
        assert calls.inside.wait(5)

        def reclaim() -> None:
            keeper.reclaim()
            back.set()

        owner = threading.Thread(target=reclaim)
        owner.start()
        assert not back.wait(0.05)
        calls.let_go.set()
        assert back.wait(5)
        owner.join()


def test_a_keep_alive_that_raises_does_not_end_the_keeping() -> None:
    count = 0

    def broken() -> None:
        nonlocal count
        count += 1
        raise RuntimeError

    with started(ConsumerKeeper(broken, after_s=0.01)) as keeper:
        keeper.lend()
        wait_until(lambda: count >= 2, 5, "called again after it raised")
        keeper.reclaim()


def test_a_predict_beyond_its_limit_ends_the_process() -> None:
    ended: list[int] = []
    with started(ConsumerKeeper(lambda: None, predict_timeout_s=0.05, end_process=ended.append)) as keeper:
        keeper.lend()
        keeper.predict_begins()
        wait_until(lambda: ended, 5, "the process is ended")
        keeper.predict_ends()
        keeper.reclaim()
    assert set(ended) == {EXIT_PREDICT_TIMEOUT}


def test_many_predicts_within_the_limit_are_no_reason_to_end() -> None:
    now_s = 0.0
    ended: list[int] = []
    keeper = ConsumerKeeper(lambda: None, predict_timeout_s=1.0, end_process=ended.append, clock=lambda: now_s)
    for _ in range(5):
        keeper.predict_begins()
        now_s += 0.9
        keeper._guard_predict()
        keeper.predict_ends()
        keeper._guard_predict()
    keeper.predict_begins()
    now_s += 1.1
    keeper._guard_predict()
    assert ended == [EXIT_PREDICT_TIMEOUT]
    keeper._cancel_watch()
