"""From outside: start the stack in the background, stop it, look at it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil

from skysail.admin.embedded.options import ERROR_PREFIX, StackError, StackOptions
from skysail.admin.embedded.redaction import without_password
from skysail.admin.embedded.state import StateFolder, UpInfo

__all__ = ["down", "start_detached", "status"]

#: Broker and store have their time limit once, then frontend and admin; the process itself needs a little.
_ROUNDS = 2
_MARGIN_S = 10.0
_STOP_S = 90.0
_LOOK_EVERY_S = 0.05

#: Stacks that this process started: one that is forgotten while it runs would be complained about.
_started: list[subprocess.Popen[bytes]] = []


def start_detached(options: StackOptions) -> UpInfo:
    """Run the stack in a session of its own; returns once all parts answer.

    Raises:
        StackError: with what the stack itself said, when it does not start, or runs already.
    """
    folder = StateFolder(options.state)
    folder.make()
    if folder.read() is not None:
        raise folder.busy()
    log = folder.logs / "up.log"
    with log.open("ab") as output:
        begin = output.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "skysail.admin.embedded.run"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _started.append(process)
    # Not as an argument, which every user of the machine could read.
    assert process.stdin is not None  # noqa: S101 - a pipe was asked for
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:  # one that ended at once is seen below
        pipe.write(msgspec.json.encode(options, enc_hook=str))
    timeout_s = _ROUNDS * (options.given_timeout_s + options.ready_timeout_s) + _MARGIN_S
    return _wait(process, folder, log, begin, timeout_s)


def _wait(process: subprocess.Popen[bytes], folder: StateFolder, log: Path, begin: int, timeout_s: float) -> UpInfo:
    limit = time.monotonic() + timeout_s
    while time.monotonic() < limit:
        info = folder.read()
        if info is not None and info.pid == process.pid:
            return info
        if process.poll() is not None:
            said = _said(log, begin).removeprefix(ERROR_PREFIX)
            raise StackError(said or f"the stack ended with {process.returncode} and said nothing")
        time.sleep(_LOOK_EVERY_S)
    process.terminate()
    message = f"the stack was not ready after {timeout_s:g} s\n{_said(log, begin)}"
    raise StackError(message)


def _said(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(begin)
        return file.read().decode("utf-8", "replace").strip()


def down(state: Path) -> UpInfo:
    """Stop the stack of a state folder; returns what was running.

    Raises:
        StackError: when nothing is, or it does not stop.
    """
    info = _running(state)
    with contextlib.suppress(psutil.NoSuchProcess):  # it has stopped by itself just now
        process = psutil.Process(info.pid)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except psutil.TimeoutExpired:
            message = f"process {info.pid} did not stop within {_STOP_S:g} s; its log is {state}/logs/up.log"
            raise StackError(message) from None
    return info


def status(state: Path) -> dict[str, Any]:
    """What runs in a state folder, and what of it answers.

    ``memory_bytes`` of the embedded broker grows with every batch of records that it ever took; None for another's.

    Raises:
        StackError: when nothing runs.
    """
    info = _running(state)
    return {
        "pid": info.pid,
        "state": str(state),
        "frontend": {"url": info.frontend, "ready": _ready(info.frontend)},
        "admin": {"url": info.admin, "ready": _ready(info.admin)},
        "broker": {"address": info.kafka, "embedded": info.embedded_broker, "memory_bytes": _broker_memory(info)},
        "store": {"address": without_password(info.redis), "embedded": info.embedded_store},
    }


def _running(state: Path) -> UpInfo:
    info = StateFolder(state).read()
    if info is None:
        message = f"nothing is running in {state}"
        raise StackError(message)
    return info


def _broker_memory(info: UpInfo) -> int | None:
    with contextlib.suppress(psutil.NoSuchProcess):  # it ended while we looked
        for child in psutil.Process(info.pid).children():
            if f"tcp://{info.kafka}" in child.cmdline():
                return int(child.memory_info().rss)
    return None


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
