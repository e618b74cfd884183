"""From outside: start the stack in the background, stop it, look at it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil

from skysail.admin.embedded.options import StackError, StackOptions
from skysail.admin.embedded.state import StateFolder, UpInfo
from skysail.admin.supervisor import log_tail

__all__ = ["down", "start_detached", "status"]

_READY_S = 120.0
_STOP_S = 90.0
_LOOK_EVERY_S = 0.1


def start_detached(options: StackOptions) -> UpInfo:
    """Run the stack in a session of its own; returns once all parts answer.

    Raises:
        StackError: with what the stack itself said, when it does not start.
    """
    folder = StateFolder(options.state)
    folder.make()
    log = folder.logs / "up.log"
    text = msgspec.json.encode(options, enc_hook=str).decode()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "skysail.admin.embedded.run", text],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    limit = time.monotonic() + _READY_S
    while time.monotonic() < limit:
        info = folder.read()
        if info is not None and info.pid == process.pid:
            return info
        if process.poll() is not None:
            raise StackError(log_tail(log, 30) or f"the stack ended with {process.returncode} and said nothing")
        time.sleep(_LOOK_EVERY_S)
    process.terminate()
    message = f"the stack was not ready after {_READY_S:g} s\n{log_tail(log, 30)}"
    raise StackError(message)


def down(state: Path) -> UpInfo:
    """Stop the stack of a state folder; returns what was running. Raises StackError when nothing is."""
    info = StateFolder(state).read()
    if info is None:
        message = f"nothing is running in {state}"
        raise StackError(message)
    process = psutil.Process(info.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except psutil.TimeoutExpired:
        message = f"process {info.pid} did not stop within {_STOP_S:g} s; its log is {state}/logs/up.log"
        raise StackError(message) from None
    return info


def status(state: Path) -> dict[str, Any]:
    """What runs in a state folder, and what of it answers. Raises StackError when nothing runs."""
    info = StateFolder(state).read()
    if info is None:
        message = f"nothing is running in {state}"
        raise StackError(message)
    return {
        "pid": info.pid,
        "state": str(state),
        "frontend": {"url": info.frontend, "ready": _ready(info.frontend)},
        "admin": {"url": info.admin, "ready": _ready(info.admin)},
        "broker": {"address": info.kafka, "embedded": info.embedded_broker},
        "store": {"address": info.redis, "embedded": info.embedded_store},
    }


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
