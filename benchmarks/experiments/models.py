"""Models to experiment on. What runs in a worker is pickled by value, so it holds nothing but the standard library."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["Predict", "noop", "predict_seconds", "recorded", "sleeping", "slow_first"]

Predict = Callable[[Any], list[Any]]


def noop(inputs: Any) -> list[int]:
    """Nothing at all."""
    return [0] * len(inputs)


def sleeping(fixed_ms: float, per_row_ms: float, speed: Path | None = None) -> Predict:
    """Sleeps as long as a model with a fixed and a per-row cost would compute; `speed` holds a factor on the time."""
    path = None if speed is None else str(speed)

    def predict(inputs: Any) -> list[int]:
        import time
        from pathlib import Path

        factor = 1.0 if path is None else float(Path(path).read_text())
        time.sleep(factor * (fixed_ms + per_row_ms * len(inputs)) / 1000)
        return [0] * len(inputs)

    return predict


def slow_first(fixed_ms: float, factor: float, claim: Path) -> Predict:
    """Sleeps `fixed_ms`; the first process to be asked claims to be the slow one and sleeps `factor` times as long."""
    path = str(claim)
    factors: list[float] = []

    def predict(inputs: Any) -> list[int]:
        import os
        import time

        if not factors:
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL))
                factors.append(factor)
            except FileExistsError:
                factors.append(1.0)
        time.sleep(factors[0] * fixed_ms / 1000)
        return [int(factors[0])] * len(inputs)

    return predict


def recorded(predict: Predict, log: Path) -> Predict:
    """The same, and every batch leaves (unix seconds of its end, rows, seconds) in `log`: see `recording`."""
    path = str(log)
    files: list[int] = []

    def noted(inputs: Any) -> list[Any]:
        import os
        import struct
        import time

        begin = time.perf_counter()
        outputs = predict(inputs)
        duration_s = time.perf_counter() - begin
        if not files:
            files.append(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY))
        os.write(files[0], struct.pack("<dId", time.time(), len(inputs), duration_s))
        return outputs

    return noted


def predict_seconds(predict: Predict, rows: list[Any], seconds: float) -> list[float]:
    """How long each call takes, one row after the other, in this process."""
    import numpy as np

    taken: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        row = np.array([rows[len(taken) % len(rows)]])
        begin = time.perf_counter()
        predict(row)
        taken.append(time.perf_counter() - begin)
    return taken
