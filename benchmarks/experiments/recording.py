"""The batches that a recorded model was given."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from benchmarks.experiments.figures import percentile

__all__ = ["Batch", "read_batches", "row_percentile"]

_ENTRY = struct.Struct("<dId")


@dataclass(frozen=True)
class Batch:
    """One call of predict: unix seconds of its end, rows, seconds that it took."""

    ended_s: float
    rows: int
    duration_s: float


def read_batches(log: Path, since_s: float = 0.0) -> list[Batch]:
    """All batches that ended after `since_s`, in the order in which they ended."""
    data = log.read_bytes() if log.exists() else b""
    whole = len(data) // _ENTRY.size * _ENTRY.size
    found = [Batch(*entry) for entry in _ENTRY.iter_unpack(data[:whole])]
    return sorted((batch for batch in found if batch.ended_s >= since_s), key=lambda batch: batch.ended_s)


def row_percentile(batches: list[Batch], share: float) -> float:
    """A percentile of predict's duration as queries see it: each batch counts once for every row."""
    return percentile((batch.duration_s for batch in batches for _ in range(batch.rows)), share)
