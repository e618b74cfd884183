"""One child process: started in a session of its own, with a log, and gone when its parent is."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from skysail.admin.child_log import open_log

__all__ = ["exit_in_words", "launch", "signal_group"]

_PR_SET_PDEATHSIG = 1
#: Loaded here, not in the child: between fork and exec nothing may take a lock that another thread holds.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


async def launch(command: Sequence[str], environment: Mapping[str, str], log: Path) -> asyncio.subprocess.Process:
    """Start a program in a session of its own, its output appended to `log`.

    On Linux it gets SIGTERM when the thread that called this ends, however it ends; so call this on the main thread.

    Raises:
        OSError: when the program cannot be run, or the log cannot be written.
    """
    with open_log(log) as output:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()),
        )


def _die_with(parent: int) -> Callable[[], None]:
    """What a child does between fork and exec: two system calls, no allocation worth the name."""

    def ask_the_kernel() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it died before the call
                os._exit(0)

    return ask_the_kernel


def signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal to what is left of a child's session: itself, or children of its own that it left behind."""
    with contextlib.suppress(ProcessLookupError):  # nothing is left
        os.killpg(process.pid, number)


def exit_in_words(code: int) -> str:
    """What an exit code means: a negative one is a signal."""
    if code >= 0:
        return f"exit code {code}"
    named = {number.value: number.name for number in signal.Signals}
    return f"killed by {named.get(-code, f'signal {-code}')}"
