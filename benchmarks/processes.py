"""Servers under test: started with equal settings, waited for, and ended with all their children."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import psutil

from benchmarks.workloads import CACHE

__all__ = ["EQUAL_SETTINGS", "NotServingError", "Process", "first_line", "wait_answer"]

#: One thread for BLAS in every server: two cores are shared with the load.
EQUAL_SETTINGS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_START_S = 120.0


class NotServingError(RuntimeError):
    """A server did not start, or does not answer as its model does."""


class Process:
    """A process in a group of its own."""

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str] | None = None) -> None:
        self.log = CACHE / "logs" / f"{name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **EQUAL_SETTINGS, **(environment or {})},
            )

    def family(self) -> list[psutil.Process]:
        """The process and all its descendants."""
        own = psutil.Process(self._process.pid)
        return [own, *own.children(recursive=True)]

    @property
    def exited(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what is left of the family after 20 seconds."""
        if self.exited:
            return
        family = self.family()
        self._process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=20)
        for process in alive:
            process.kill()
        self._process.wait()


def wait_answer(process: Process, url: str, body: str) -> bytes:
    """Wait until a POST of `body` is answered with a 2xx status, and return the answer.

    Raises:
        NotServingError: when the process ends, or two minutes pass; with the end of its log.
    """
    limit = time.monotonic() + _START_S
    last = "nothing listens"
    while time.monotonic() < limit and not process.exited:
        try:
            answer = httpx.post(url, content=body, headers={"content-type": "application/json"}, timeout=10)
            if answer.is_success:
                return answer.content
            last = f"{answer.status_code} {answer.text[:500]}"
        except httpx.HTTPError as error:
            last = repr(error)  # not listening yet
        time.sleep(0.2)
    tail = process.log.read_text(errors="replace")[-2000:]
    message = f"{url} did not answer: {last}\n{tail}"
    raise NotServingError(message)


def first_line(path: Path) -> str:
    """The first line of a file."""
    with path.open() as file:
        return file.readline().strip()
