"""What has been polled and not yet predicted, earliest deadline first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from skysail.workers.ranges import at_least

__all__ = ["DEFAULT_PATIENCE_MS", "DeadlineQueue"]

T = TypeVar("T")

#: How long an item without a deadline lets others go before it, at most.
DEFAULT_PATIENCE_MS = 60_000

#: (due in unix ms, number of arrival, rows, whether it expires when due, item). The number is unique, so a comparison
#: never reaches the item.
_Entry = tuple[int, int, int, bool, T]


class DeadlineQueue(Generic[T]):
    """Items of one or more rows; batches leave it earliest deadline first, and first come first among equals.

    An item without a deadline is due ``patience_ms`` after it came, but never expires. So it comes after every item
    whose deadline is nearer, which all are whose application has an objective below ``patience_ms``, yet it cannot
    starve: what arrives after it is due, or with a later deadline, comes after it.

    Not thread-safe: one owner pushes and pops. Two queues in one: while deadlines arrive in order, as they do where all
    items have the same objective or none, entries go to the end of a deque and both ends cost O(1). An entry that is
    due before the last of the deque goes to a heap, O(log n). A pop takes the earlier of the two heads.

    Args:
        patience_ms: how long after its arrival an item without a deadline is due, in milliseconds (>= 0).
    """

    __slots__ = ("_count", "_heap", "_in_order", "_last_due_ms", "_patience_ms", "_rows")

    def __init__(self, patience_ms: int = DEFAULT_PATIENCE_MS) -> None:
        self._patience_ms = at_least("patience_ms", patience_ms, 0)
        self._in_order: deque[_Entry[T]] = deque()
        self._heap: list[_Entry[T]] = []
        self._last_due_ms = 0
        self._count = 0
        self._rows = 0

    def __len__(self) -> int:
        """Items waiting."""
        return len(self._in_order) + len(self._heap)

    @property
    def rows(self) -> int:
        """Rows waiting."""
        return self._rows

    def push(self, item: T, rows: int, deadline_ms: int | None, now_ms: int) -> None:
        """Adds an item.

        Args:
            item: anything; it is never compared or looked into.
            rows: its rows (>= 1).
            deadline_ms: unix milliseconds from which it is of no use, or None. One that is past already is taken: the
                next `pop_batch` gives it back as expired.
            now_ms: unix milliseconds.
        """
        if rows < 1:
            at_least("rows", rows, 1)
        self._count += 1
        self._rows += rows
        due_ms = now_ms + self._patience_ms if deadline_ms is None else deadline_ms
        entry = (due_ms, self._count, rows, deadline_ms is not None, item)
        if due_ms >= self._last_due_ms or not self._in_order:
            self._last_due_ms = due_ms
            self._in_order.append(entry)
        else:
            heappush(self._heap, entry)

    def pop_batch(self, cap_rows: int, now_ms: int) -> tuple[list[T], list[T]]:
        """Takes out the next batch: ``(batch, expired)``, each in the order of the deadlines.

        The batch ends before the first item that would lift it above the cap, even if a later one fitted, so that
        items of many rows are not overtaken for ever. Only an item that is larger than the cap by itself goes above it,
        alone; the predict step splits its rows. An item whose deadline is reached before it is taken is in ``expired``
        and must be given its outcome.

        Args:
            cap_rows: most rows in the batch (>= 1).
            now_ms: unix milliseconds. A caller that knows how long predict takes may pass when it will be done, and
                has those dropped that would expire meanwhile.
        """
        if cap_rows < 1:
            at_least("cap_rows", cap_rows, 1)
        batch: list[T] = []
        expired: list[T] = []
        left = cap_rows
        in_order, heap = self._in_order, self._heap
        while in_order or heap:
            from_heap = not in_order or (heap and heap[0] < in_order[0])
            due_ms, _, rows, expires, item = heap[0] if from_heap else in_order[0]
            is_expired = expires and due_ms <= now_ms
            if not is_expired and rows > left and batch:
                break
            if from_heap:
                heappop(heap)
            else:
                in_order.popleft()
            self._rows -= rows
            if is_expired:
                expired.append(item)
                continue
            batch.append(item)
            left -= rows
            if left <= 0:
                break
        return batch, expired

    def remove(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Takes out all items for which ``unwanted`` holds, as after a partition was revoked. In no order; O(n)."""
        removed = [entry for queue in (self._in_order, self._heap) for entry in queue if unwanted(entry[4])]
        if removed:
            gone = {entry[1] for entry in removed}
            self._in_order = deque(entry for entry in self._in_order if entry[1] not in gone)
            self._heap = [entry for entry in self._heap if entry[1] not in gone]
            heapify(self._heap)
            self._last_due_ms = self._in_order[-1][0] if self._in_order else 0
            self._rows -= sum(entry[2] for entry in removed)
        return [entry[4] for entry in removed]
