"""Which offsets may be committed while records finish out of order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from skysail.topics.broker import TopicPartition

__all__ = ["OffsetTracker"]


class _Partition:
    """One partition: the offsets begun, in order, and those of them still open."""

    __slots__ = ("begun", "given", "last", "open", "position")

    def __init__(self) -> None:
        self.begun: deque[int] = deque()
        self.open: set[int] = set()
        self.last = -1
        self.position = -1  # one past the last record of which all before are done; -1: none yet
        self.given = -1  # the position that `committable` gave last

    def advance(self) -> int:
        begun, still_open = self.begun, self.open
        while begun and begun[0] not in still_open:
            self.position = begun.popleft() + 1
        return self.position


class OffsetTracker:
    """Follows records from poll to stored outcome and tells how far each partition may be committed.

    A batch in the order of deadlines finishes records out of the order of the log. Only the low-water mark may be
    committed: one past the last record such that it and all before it are done. Offsets may have gaps (compaction,
    transaction markers); a gap holds nothing back. All operations cost O(1), amortised. Not thread-safe.
    """

    __slots__ = ("_outstanding", "_partitions")

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._outstanding = 0

    @property
    def outstanding(self) -> int:
        """Records begun and not done, over all partitions."""
        return self._outstanding

    def begin(self, topic: str, partition: int, offset: int) -> None:
        """Notes a polled record.

        A partition's records come in order. An offset at or below the last one means that the consumer was moved back
        (a seek, a truncated or recreated log): the partition starts anew from it, as after `revoke`.
        """
        key = (topic, partition)
        state = self._partitions.get(key)
        if state is None:
            state = self._partitions[key] = _Partition()
        elif offset <= state.last:
            self.revoke([key])
            state = self._partitions[key] = _Partition()
        state.last = offset
        state.begun.append(offset)
        state.open.add(offset)
        self._outstanding += 1

    def done(self, topic: str, partition: int, offset: int) -> bool:
        """Notes that the record's outcome is stored. False if it is not open: done before, or revoked meanwhile."""
        state = self._partitions.get((topic, partition))
        if state is None or offset not in state.open:
            return False
        state.open.remove(offset)
        self._outstanding -= 1
        return True

    def committable(self) -> dict[TopicPartition, int]:
        """The next offset to read, of each partition that has advanced since the last call; what a commit takes."""
        advanced: dict[TopicPartition, int] = {}
        for key, state in self._partitions.items():
            position = state.advance()
            if position > state.given:
                advanced[key] = state.given = position
        return advanced

    def give_back(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Takes back what `committable` gave, because the commit failed: the next call gives it, or more, again."""
        for key, position in offsets.items():
            state = self._partitions.get(key)
            if state is not None and state.given == position:
                state.given = -1

    def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """Forgets partitions that now belong to another consumer; what is begun there will be delivered again."""
        for key in partitions:
            state = self._partitions.pop(key, None)
            if state is not None:
                self._outstanding -= len(state.open)
