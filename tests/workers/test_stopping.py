"""The first signal asks, the second insists; waiting ends when asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from skysail.workers.stopping import Patience, StoppedWhileLoading, StopRequest


@pytest.fixture
def own_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("own_signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_there_is_work_ends_the_process_at_once(number: signal.Signals) -> None:
    stop = StopRequest()
    stop.listen()
    with pytest.raises(StoppedWhileLoading):
        os.kill(os.getpid(), number)


@pytest.mark.usefixtures("own_signals")
def test_a_signal_while_there_is_work_is_a_request() -> None:
    stop = StopRequest()
    stop.listen()
    stop.hold()
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.requested


def test_a_second_signal_ends_the_process_without_ceremony() -> None:
    code = """
        import os, signal
        from skysail.workers.stopping import StopRequest
        stop = StopRequest()
        stop.listen()
        stop.hold()
        os.kill(os.getpid(), signal.SIGTERM)
        print("asked", stop.requested, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        print("never reached")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("asked True\n", 128 + signal.SIGTERM)


def test_pauses_grow_up_to_a_second() -> None:
    slept: list[float] = []
    patience = Patience(StopRequest(), slept.append)
    totals = []
    for attempt in range(12):
        slept.clear()
        assert patience.wait(attempt)
        totals.append(round(sum(slept), 3))
    assert totals == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, *[1.0] * 6]
    assert max(slept) <= 0.05


def test_a_request_ends_a_pause_and_every_later_one() -> None:
    stop = StopRequest()
    slept: list[float] = []

    def sleep(duration_s: float) -> None:
        slept.append(duration_s)
        stop.requested = len(slept) == 2

    patience = Patience(stop, sleep)
    assert not patience.wait(10)
    assert len(slept) == 2
    stop.requested = True
    assert not patience.wait(0)
    assert len(slept) == 2
