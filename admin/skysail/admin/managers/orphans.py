"""Workers of an admin process that was killed: the kernel tells them to end, and one that hangs does not hear it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import structlog

__all__ = ["end_orphan"]

_log = structlog.get_logger(__name__)
_LOOK_EVERY_S = 0.1
_STATE = "SKYSAIL_WORKER__STATE"


async def end_orphan(state: Path, grace_s: float) -> None:
    """See to it that no worker holds a state folder: it may finish what it has in hand, for so long.

    Args:
        state: the folder of a slot whose worker is about to be started.
        grace_s: until it is killed, with the processes that it started.
    """
    if not await asyncio.to_thread(_is_held, state):
        return
    orphans = await asyncio.to_thread(_workers_of, state)
    _log.warning("orphan_found", state=str(state), pids=[one.pid for one in orphans], grace_s=grace_s)
    if sys.platform != "linux":  # there it has been told already, and a second signal would insist
        _send(orphans, signal.SIGTERM)
    limit = time.monotonic() + grace_s
    # Nothing tells when a process of somebody else ends.
    while orphans and time.monotonic() < limit and await asyncio.to_thread(_is_held, state):  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_EVERY_S)
    _send(orphans, signal.SIGKILL)
    await asyncio.to_thread(psutil.wait_procs, orphans, grace_s)


def _is_held(state: Path) -> bool:
    """Whether a worker has the folder: it holds a record lock on a file there for as long as it lives."""
    try:
        with (state / "lock").open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _workers_of(state: Path) -> list[psutil.Process]:
    """Processes that were told this folder, and lead a session: the worker itself, none that it started."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):  # it has ended, or is somebody else's
            if process.environ().get(_STATE) == str(state) and os.getsid(process.pid) == process.pid:
                found.append(process)
    return found


def _send(orphans: list[psutil.Process], number: signal.Signals) -> None:
    for one in orphans:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.pid, number)
