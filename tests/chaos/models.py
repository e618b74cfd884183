"""The models that the faults are injected into. Their code travels with the artifact, by value."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any

__all__ = ["POISON", "SEGFAULT", "answer_to", "fragile", "slow_if", "steady"]

POISON = "poison"
SEGFAULT = "segfault"


def answer_to(text: str) -> str:
    """What every model here answers."""
    return f"seen {text}"


def steady(inputs: list[str]) -> list[str]:
    """Costs two milliseconds a call."""
    time.sleep(0.002)
    return [answer_to(text) for text in inputs]


def fragile(inputs: list[str]) -> list[str]:
    """Raises on a poisonous row, and takes the whole process down on a worse one."""
    time.sleep(0.002)
    for text in inputs:
        if text.startswith(SEGFAULT):
            ctypes.string_at(0)
        if text.startswith(POISON):
            message = f"cannot digest {text}"
            raise ValueError(message)
    return [answer_to(text) for text in inputs]


def slow_if(marker: str) -> Any:
    """A model that is fifty times slower in the process that finds (and takes) a file named `marker`."""
    state: dict[str, float] = {}

    def predict(inputs: list[str]) -> list[str]:
        if "cost_s" not in state:
            try:
                Path(marker).unlink()
                state["cost_s"] = 0.1
            except FileNotFoundError:
                state["cost_s"] = 0.002
        time.sleep(state["cost_s"])
        return [answer_to(text) for text in inputs]

    return predict


def end(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that a test started."""
    os.kill(pid, number)
