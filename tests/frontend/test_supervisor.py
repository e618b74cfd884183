"""Keeping processes running, tried on processes that are only said to be some."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from skysail.frontend.supervisor import Supervisor
from tests.waiting import wait_until


class Child:
    """Ends when it is told to; `sentinel` becomes readable then, as a process's does."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exitcode: int | None = None
        self.sentinel, self._end = os.pipe()
        self.terminated = False

    def end(self, code: int) -> None:
        self.exitcode = code
        os.close(self._end)

    def terminate(self) -> None:
        self.terminated = True
        self.end(0)

    def join(self) -> None:
        os.close(self.sentinel)


class Stage:
    """A supervisor on a thread, and the children that it has started."""

    def __init__(self, count: int) -> None:
        self.skipped_s = 0.0
        self.children: list[Child] = []
        self.supervisor = Supervisor(cast("Any", self._start), count, self._clock)
        self._thread = threading.Thread(target=self.supervisor.run)
        self._thread.start()

    def _clock(self) -> float:
        return time.monotonic() + self.skipped_s

    def _start(self) -> Child:
        self.children.append(Child(len(self.children)))
        return self.children[-1]

    def wait_for(self, count: int) -> None:
        wait_until(lambda: len(self.children) == count, 20, lambda: f"{count} children, not {len(self.children)}")

    def stop(self) -> None:
        self.supervisor.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def stage() -> Iterator[Stage]:
    """With two children."""
    made = Stage(2)
    yield made
    made.stop()


def test_as_many_run_as_are_wanted(stage: Stage) -> None:
    stage.wait_for(2)
    stage.stop()
    assert [child.terminated for child in stage.children] == [True, True]


def test_one_that_ends_is_replaced(stage: Stage) -> None:
    stage.wait_for(2)
    stage.children[0].end(-9)
    stage.wait_for(3)
    assert [child.exitcode for child in stage.children] == [-9, None, None]


def test_one_that_lived_long_is_replaced_at_once(stage: Stage) -> None:
    stage.wait_for(2)
    stage.skipped_s = 100
    stage.children[0].end(1)
    stage.wait_for(3)
    assert stage.supervisor._pause_s == 0


def test_pauses_grow_while_children_end_soon(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    original = stage.supervisor._reap

    def note() -> bool:
        ended = original()
        if ended:
            waited.append(stage.supervisor._pause_s)
        return ended

    monkeypatch.setattr(stage.supervisor, "_reap", note)
    for count in range(2, 4):
        stage.wait_for(count)
        stage.children[-1].end(1)
    stage.wait_for(4)
    assert waited == [0.2, 0.4]


def test_stopping_starts_nothing_more(stage: Stage) -> None:
    stage.wait_for(2)
    stage.supervisor.stop()
    stage.stop()
    assert len(stage.children) == 2
