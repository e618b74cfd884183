"""Which partition a query goes to: the one with the fewest of this sender's own rows outstanding."""

from __future__ import annotations

__all__ = ["PartitionChooser"]


class PartitionChooser:
    """Join-the-shortest-queue over the partitions of one topic, by rows that have no answer yet.

    A slow replica's partitions keep rows outstanding, so new ones go elsewhere. Rows that leave in the same flush stay
    together up to `chunk` rows, since a partition costs the broker one request whatever it holds (the idea of KIP-480's
    sticky partitioner); between flushes, equals take turns.
    """

    __slots__ = ("_chunk", "_count", "_last", "_left", "outstanding")

    def __init__(self, partitions: int, chunk: int = 16) -> None:
        self.outstanding = [0] * partitions
        self._count = partitions
        self._chunk = chunk
        self._last = partitions - 1
        self._left = 0

    def new_flush(self) -> None:
        """Rows chosen from now on leave in another request."""
        self._left = 0

    def take(self, rows: int) -> int:
        """Choose a partition for a query of `rows` rows and count them as outstanding there."""
        outstanding = self.outstanding
        if self._left <= 0:
            fewest = min(outstanding)
            last = self._last
            while True:
                last = last + 1 if last + 1 < self._count else 0
                if outstanding[last] == fewest:
                    break
            self._last = last
            self._left = self._chunk
        self._left -= rows
        outstanding[self._last] += rows
        return self._last

    def done(self, partition: int, rows: int) -> None:
        """An answer came, or was given up, for `rows` rows on `partition`."""
        self.outstanding[partition] -= rows
