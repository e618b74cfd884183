import socket
import sys
from pathlib import Path

import pytest

from tests.services import Redis
from tests.services.factory import Factory
from tests.services.ports import HOST, free_port
from tests.services.requirement import require
from tests.services.service import ServiceError


class Absent(Redis):
    @classmethod
    def missing(cls) -> str | None:
        return "it is not installed"


class Failing(Redis):
    """A server that exits at once, saying why."""

    def command(self) -> list[str]:
        return [sys.executable, "-c", "print('no such luck'); raise SystemExit(3)"]


class Stubborn(Redis):
    """A server that does not stop when asked."""

    stop_timeout_s = 0.2

    def command(self) -> list[str]:
        ignore = "import signal, socket, sys\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        serve = f"s = socket.create_server(('{HOST}', {self.port}))\nwhile True: s.accept()[0].sendall(b'+PONG\\r\\n')"
        return [sys.executable, "-c", ignore + serve]


def test_a_missing_service_skips_a_test_on_somebodys_machine() -> None:
    with pytest.raises(pytest.skip.Exception, match="it is not installed"):
        require(Absent, {})


@pytest.mark.parametrize("ci", ["true", "1"])
def test_a_missing_service_fails_a_test_in_ci(ci: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="it is not installed"):
        require(Absent, {"CI": ci})


def test_a_service_that_is_there_neither_skips_nor_fails() -> None:
    class Present(Redis):
        @classmethod
        def missing(cls) -> str | None:
            return None

    require(Present, {"CI": "true"})


def test_a_server_that_exits_before_it_is_ready_is_reported_with_its_log() -> None:
    with pytest.raises(ServiceError, match=r"(?s)exited with status 3 .*no such luck"), Failing():
        pytest.fail("it cannot have started")


def test_a_server_that_does_not_stop_when_asked_is_killed_and_reported() -> None:
    with Stubborn() as server:
        with pytest.raises(ServiceError, match="did not stop"):
            server.stop()
        assert not server.is_running


def test_a_closed_server_leaves_its_log_and_nothing_else(own_redis: Factory[Redis]) -> None:
    server = own_redis()
    folder, log = server.folder, server.log
    assert folder.is_dir()

    server.close()

    assert not server.is_running
    assert not folder.exists()
    assert "Ready to accept connections" in log.read_text("utf-8")


def test_a_server_that_was_never_started_says_so() -> None:
    server = Redis()
    for ask in (lambda: server.port, lambda: server.folder, lambda: server.pid):
        with pytest.raises(ServiceError, match="redis"):
            ask()


def test_the_data_of_a_running_server_is_not_removed(own_redis: Factory[Redis]) -> None:
    server = own_redis()
    with pytest.raises(ServiceError, match="running"):
        server.lose_data()
    assert Path(server.data).is_dir()


def test_a_server_is_not_started_twice(own_redis: Factory[Redis]) -> None:
    server = own_redis()
    with pytest.raises(ServiceError, match="already"):
        server.start()


def test_a_port_in_use_is_never_given_nor_any_port_twice() -> None:
    with socket.create_server((HOST, 0)) as server:
        busy, first, second = server.getsockname()[1], unused_port(), unused_port()
        draws = iter([busy, first, first, busy, second])

        assert free_port(lambda _low, _high: next(draws)) == first
        assert free_port(lambda _low, _high: next(draws)) == second


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
