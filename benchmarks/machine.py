"""What a figure depends on: the machine and the versions."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import distributions, version
from pathlib import Path

import psutil

__all__ = ["describe_machine", "describe_versions"]

_PACKAGES = (
    "confluent-kafka",
    "httptools",
    "numpy",
    "onnxruntime",
    "redis",
    "scikit-learn",
    "skysail",
    "uvicorn",
    "uvloop",
)
_JARS = Path(__file__).parents[1] / ".cache" / "kafka" / "libs"


def describe_machine() -> dict[str, str | int]:
    """Processor, cores, memory and system."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "processor": model,
        "cores": os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def describe_versions(peers: dict[str, str]) -> dict[str, str]:
    """Versions of our packages, of the services, and of the peers measured."""
    found = {name: version(name) for name in _PACKAGES if any(distributions(name=name))}
    kafka = [path.stem.removeprefix("kafka-clients-") for path in _JARS.glob("kafka-clients-*.jar")]
    commit = ["git", "describe", "--always", "--dirty"]
    source = subprocess.run(commit, capture_output=True, text=True, check=False, cwd=_JARS.parents[2]).stdout
    wrk = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    redis = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=False).stdout
    return {
        **found,
        **peers,
        "kafka": kafka[0] if kafka else "",
        "skysail-commit": source.strip(),
        "wrk": wrk.split()[1] if wrk else "",
        "java": java.split('"')[1] if '"' in java else "",
        "redis-server": redis.split("v=")[-1].split()[0],
    }
