"""Environments of the peers: one each, made on first use, with pinned versions."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.workloads import CACHE

__all__ = ["PeerUnavailableError", "peer_folder", "peer_python"]

_PIP = "pip==26.3"


class PeerUnavailableError(RuntimeError):
    """A peer cannot be installed here; the message says why."""


def peer_folder(name: str) -> Path:
    """Where a peer's environment is."""
    return CACHE / "peers" / name


def peer_python(name: str, pins: Sequence[str], interpreter: str = sys.executable) -> str:
    """The interpreter of a peer's own environment, which is made when it is missing or its pins have changed.

    Raises:
        PeerUnavailableError: when it cannot be made.
    """
    folder = peer_folder(name)
    python = folder / "bin" / "python"
    stamp = folder / "pins.json"
    if not stamp.exists() or json.loads(stamp.read_text()) != list(pins):
        print(f"installing {name}: {' '.join(pins)}", flush=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        for command in ([interpreter, "-m", "venv", "--clear", str(folder)], [*pip, _PIP], [*pip, *pins]):
            _run(name, command)
        stamp.write_text(json.dumps(list(pins)))
    return str(python)


def _run(name: str, command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        message = f"{name} is not available here: {error}"
        raise PeerUnavailableError(message) from error
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        message = f"{name} does not install here: {' '.join(last)}"
        raise PeerUnavailableError(message)
