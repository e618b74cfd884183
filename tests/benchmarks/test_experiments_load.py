from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest

from benchmarks.experiments import EXPERIMENTS, overload
from benchmarks.experiments.openloop import Answer, http_request, offer
from benchmarks.experiments.stragglers import RoundRobin


class _Handler(socketserver.StreamRequestHandler):
    """Answers each request with the status that its path names; closes without an answer at `/close`."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            length = 0
            while (header := self.rfile.readline().strip()) != b"":
                name, _, value = header.partition(b": ")
                length = int(value) if name == b"content-length" else length
            self.rfile.read(length)
            status = line.split()[1][1:]
            if status == b"close":
                return
            self.wfile.write(b"HTTP/1.1 %b X\r\nContent-Length: 5\r\nx-case: %b\r\n\r\nhello" % (status, status))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@contextmanager
def _serving() -> Iterator[tuple[str, int]]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield ("127.0.0.1", server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def test_a_request_is_whole() -> None:
    head, _, body = http_request("/a/predict", b"[1]").partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"POST /a/predict HTTP/1.1"
    assert b"content-length: 3" in head.split(b"\r\n")
    assert body == b"[1]"


def test_an_open_loop_sends_every_request_in_turn_and_notes_each_status() -> None:
    with _serving() as address:
        answers = offer(address, [http_request("/200", b"x"), http_request("/429", b"")], 200, 0.1, heads=True)
    assert [answer.status for answer in answers] == [200, 429] * 10
    assert [answer.due_s for answer in answers] == [number / 200 for number in range(20)]
    assert b"x-case: 429" in answers[1].head


def test_a_request_whose_connection_is_closed_counts_as_unanswered() -> None:
    with _serving() as address:
        answers = offer(address, [http_request("/close", b"")], 100, 0.05)
    assert [answer.status for answer in answers] == [0] * 5


def test_a_server_that_is_not_there_leaves_every_request_unanswered() -> None:
    with _serving() as address:
        pass
    assert [answer.status for answer in offer(address, [http_request("/200", b"")], 100, 0.05)] == [0] * 5


def test_the_account_counts_only_what_came_in_time_as_good() -> None:
    answers = [
        Answer(0.5, 0.01, 200),  # before the first second is over
        Answer(1.1, 0.05, 200),
        Answer(1.2, 0.25, 200),  # too late for the caller
        Answer(1.3, 0.01, 429),
        Answer(1.4, 0.21, 504),
        Answer(1.5, 2.0, 0),
    ]
    found = overload.account(answers, capacity=1.0, seconds=1.0)
    assert found["goodput/s"] == 1
    assert found["offered/s"] == 5
    assert (found["200"], found["429"], found["504"], found["0"], found["others"]) == (2, 1, 1, 1, 0)
    assert found["accepted p99 ms"] == 2000
    assert found["refused p50 ms"] == 10


def test_round_robin_takes_partitions_in_turn_whatever_is_outstanding() -> None:
    chooser = RoundRobin(3)
    chooser.new_flush()
    assert [chooser.take(100), chooser.take(1), chooser.take(1), chooser.take(1)] == [0, 1, 2, 0]
    chooser.done(0, 101)
    assert chooser.outstanding == [0, 1, 1]


@pytest.mark.parametrize("module", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_every_experiment_can_be_run_and_shown(module: ModuleType) -> None:
    assert callable(module.run)
    assert callable(module.table)
    assert module.__doc__


def test_a_percentile_of_no_answers_at_all_does_not_meet_the_target() -> None:
    row = {"offered ÷ capacity": 2.0, "goodput ÷ capacity": 0.0, "accepted p99 ms": 0.0, "200": 0}
    assert [target["met"] for target in overload.targets([row])] == [False, False]
    assert [target["met"] for target in overload.targets([row | {"200": 9, "goodput ÷ capacity": 0.9}])] == [True, True]
