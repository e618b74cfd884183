"""Load by wrk, one thread: closed loop at a fixed number of connections."""

from __future__ import annotations

import json
import math
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Measurement", "measure"]

_SCRIPT = Path(__file__).with_name("post.lua")


@dataclass(frozen=True)
class Measurement:
    """One point: requests per second, latency in milliseconds, and answers that were not 2xx or did not come."""

    rps: float
    p50_ms: float
    p99_ms: float
    errors: int


def measure(url: str, bodies: Path, concurrency: int, seconds: float) -> Measurement:
    """Ask `url` with `concurrency` connections for `seconds`, rounded up: wrk knows whole ones only."""
    command = [
        "wrk",
        "-t1",
        f"-c{concurrency}",
        f"-d{math.ceil(seconds)}s",
        "--timeout",
        "20s",
        "-s",
        str(_SCRIPT),
        url,
    ]
    environment = {**os.environ, "BODIES": str(bodies)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return Measurement(**json.loads(done.stdout.strip().splitlines()[-1]))
