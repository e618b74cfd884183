"""A server process that a test starts, stops, kills and starts again."""

import os
import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from tests.services.ports import HOST, free_port
from tests.waiting import wait_until

__all__ = ["LOGS", "REPOSITORY", "Service", "ServiceError"]

REPOSITORY = Path(__file__).parents[2]

#: Logs outlive their servers, so that a failure can be read afterwards.
LOGS = REPOSITORY / ".cache" / "test-logs"


class ServiceError(Exception):
    """Raised when a server cannot be started, or is asked for what it cannot do in its state."""


class Service(ABC):
    """One server process on a port of 127.0.0.1, with a temporary folder of its own.

    The port is chosen at the first start and kept, so that clients find the server again after a restart. The
    constructor does no I/O; `close` ends the process and removes the folder, and a `with` block does both ends.
    """

    name: ClassVar[str]
    start_timeout_s: ClassVar[float] = 30
    stop_timeout_s: ClassVar[float] = 20

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    # What a kind of server says of itself.

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """What this machine lacks to run the server, or None."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command line of the server, which runs in `folder` until it is told to stop."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the server answers a client."""

    def prepare(self) -> None:
        """Fills a new, empty data folder; called once for each. Most servers do that themselves."""
        return

    # Where it is.

    @property
    def port(self) -> int:
        """The port it listens on, from the first start on."""
        if self._port is None:
            raise self._never_started()
        return self._port

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"{HOST}:{self.port}"

    @property
    def folder(self) -> Path:
        """Its own folder: configuration, and the data in `data`."""
        if self._folder is None:
            raise self._never_started()
        return self._folder

    @property
    def data(self) -> Path:
        """The folder with all that must survive a restart."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """The output of all its runs."""
        return LOGS / f"{self.name}-{self.port}.log"

    @property
    def pid(self) -> int:
        """The id of the running process."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there, ready or not."""
        return self._process is not None and self._process.poll() is None

    # What can be done to it.

    def start(self) -> Self:
        """Starts the server, with the data that it had, and waits until it is ready."""
        self.launch()
        self.wait_ready()
        return self

    def launch(self) -> None:
        """Starts the server without waiting for it."""
        if self.is_running:
            msg = f"{self.name} is already running"
            raise ServiceError(msg)
        self._settle_in()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def wait_ready(self) -> None:
        """Waits until the server answers.

        Raises:
            ServiceError: when it exits instead; the message holds the end of its log.
        """
        wait_until(self._ready_or_raise, self.start_timeout_s, lambda: f"{self.name} ready\n{self.log_tail()}")

    def stop(self) -> None:
        """Asks the server to stop (SIGTERM) and waits until it has; it is killed after `stop_timeout_s`."""
        process = self._running()
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a paused process would never see the request
        try:
            process.wait(self.stop_timeout_s)
        except subprocess.TimeoutExpired as error:
            self.kill()
            msg = f"{self.name} did not stop within {self.stop_timeout_s:g} s and was killed"
            raise ServiceError(msg) from error

    def kill(self) -> None:
        """Ends the server at once (SIGKILL), as a crash would."""
        process = self._running()
        process.kill()
        process.wait()

    def pause(self) -> None:
        """Freezes the server (SIGSTOP) and returns once it stands still: connections stay open, nothing answers."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        # All its threads have stopped when the kernel says so; WNOWAIT leaves an exit for Popen to see.
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Lets a paused server go on."""
        self._running().send_signal(signal.SIGCONT)

    def lose_data(self) -> None:
        """Removes the data of a stopped server, as a lost disk would."""
        if self.is_running:
            msg = f"{self.name} is running: stop or kill it before its data is removed"
            raise ServiceError(msg)
        shutil.rmtree(self.data)

    def restart(self, *, keep_data: bool = True) -> None:
        """Stops the server and starts it on the same port, with its data or without."""
        self.stop()
        if not keep_data:
            self.lose_data()
        self.start()

    def close(self) -> None:
        """Ends the server, if it runs, and removes its folder. Its log stays."""
        if self.is_running:
            self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder)
            self._folder = None

    def log_tail(self, lines: int = 60) -> str:
        """The end of its log."""
        if self._port is None or not self.log.exists():
            return ""
        return "\n".join(self.log.read_text("utf-8", errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        """Starts the server; one that cannot start leaves nothing behind."""
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _settle_in(self) -> None:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=f"skysail-{self.name}-"))
        if self._port is None:
            self._port = free_port()
            LOGS.mkdir(parents=True, exist_ok=True)
            self.log.unlink(missing_ok=True)  # an earlier server's on the same port
        if not self.data.exists():
            self.data.mkdir()
            self.prepare()

    def _ready_or_raise(self) -> bool:
        if not self.is_running:
            status = None if self._process is None else self._process.returncode
            msg = f"{self.name} exited with status {status} before it was ready\n{self.log_tail()}"
            raise ServiceError(msg)
        return self.is_ready()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            msg = f"{self.name} is not running"
            raise ServiceError(msg)
        return self._process

    def _never_started(self) -> ServiceError:
        return ServiceError(f"{self.name} has not been started")
