"""The consuming end of the in-memory broker."""

from __future__ import annotations

import time
from collections.abc import Mapping

from skysail.topics.broker import CommitFailureCallback, RebalanceListener, TopicPartition
from skysail.topics.errors import UnavailableError
from skysail.topics.memory.cluster import Cluster, Group, Member
from skysail.topics.records import ConsumedRecord

__all__ = ["MemoryConsumer"]


class MemoryConsumer:
    """A `RecordConsumer`. Rebalances are cooperative: a partition is given up before its next owner gets it.

    `kill` and `expel` play what happens to real members, from any thread.
    """

    def __init__(
        self,
        cluster: Cluster,
        group: Group,
        name: str,
        listener: RebalanceListener,
        on_commit_failure: CommitFailureCallback | None = None,
    ) -> None:
        self._cluster = cluster
        self._group = group
        self._name = name
        self._listener = listener
        self._on_commit_failure = on_commit_failure
        self._failed_commits: list[tuple[dict[TopicPartition, int], str]] = []
        self._me = Member()
        self._expelled = False
        self._closed = False

    def subscribe(self, topics: list[str]) -> None:
        """Replace the subscription; the members of the group learn what it means for them in their next polls."""
        with self._cluster.changed:
            self._check_open()
            self._me.subscription = frozenset(topics)
            self._join()

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumedRecord]:
        """Up to `max_records` that are there; waits at most `timeout_s` for the first. Tells the listener first."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.keep_alive()
            with self._cluster.changed:
                if self._is_rebalance_due():
                    continue
                records = self._take(max_records) if self._cluster.running else []
                left_s = deadline - time.monotonic()
                if records or left_s <= 0:
                    return records
                self._cluster.changed.wait(left_s)

    def keep_alive(self) -> None:
        """Tell of failed commits, and of partitions gained and lost; take no records."""
        failed, self._failed_commits = self._failed_commits, []
        for offsets, reason in failed:
            if self._on_commit_failure is not None:
                self._on_commit_failure(offsets, reason)
        self._return_to_group()
        with self._cluster.changed:
            self._check_open()
            gone = self._superfluous()
        if gone:  # its listener may commit, and must find the partitions still held
            self._listener.revoked(gone, lost=False)
        with self._cluster.changed:
            for place in gone:
                self._me.positions.pop(place, None)
            new = self._missing()
            self._me.positions.update((place, self._group.committed.get(place, 0)) for place in new)
            if gone:
                self._cluster.changed.notify_all()
        if new:
            self._listener.assigned(new)

    def commit(self, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:
        """Commit next offsets. A commit in the background that fails is told to `on_commit_failure` by the next poll.

        Raises:
            UnavailableError: with `wait`, when the broker is stopped or the group has expelled this member.
        """
        with self._cluster.changed:
            self._check_open()
            if self._cluster.running and not self._expelled:
                self._group.committed.update(offsets)
                self._cluster.changed.notify_all()
                return
            reason = "the group has expelled this member" if self._cluster.running else "the broker is away"
            if wait:
                message = f"the commit failed: {reason}"
                raise UnavailableError(message)
            self._failed_commits.append((dict(offsets), reason))

    def assignment(self) -> frozenset[TopicPartition]:
        """Partitions now assigned."""
        with self._cluster.changed:
            return frozenset(self._me.positions)

    def close(self) -> None:
        """Tell the listener that all is revoked, and leave the group."""
        held = sorted(self.assignment())
        if held:
            self._listener.revoked(held, lost=self._expelled)
        self.kill()

    def kill(self) -> None:
        """Stop as a killed process does: nothing is committed, nobody is told; others get the partitions at once."""
        with self._cluster.changed:
            self._closed = True
            self._me.positions.clear()
            self._leave()

    def expel(self) -> None:
        """Be thrown out of the group, as a member that was silent for too long; others get the partitions at once.

        This member learns of it in its next poll (``revoked(..., lost=True)``), and joins again.
        """
        with self._cluster.changed:
            self._expelled = True
            self._leave()

    def _join(self) -> None:
        self._group.members[self._name] = self._me
        self._cluster.rebalance(self._group)

    def _leave(self) -> None:
        self._group.members.pop(self._name, None)
        self._cluster.rebalance(self._group)

    def _return_to_group(self) -> None:
        with self._cluster.changed:
            if not self._expelled or self._closed or not self._cluster.running:
                return
            self._expelled = False
            lost = sorted(self._me.positions)
            self._me.positions.clear()
            self._join()
        if lost:
            self._listener.revoked(lost, lost=True)

    def _is_rebalance_due(self) -> bool:
        """Whether `keep_alive` has something to do, or to raise."""
        if self._closed:
            return True
        return self._cluster.running and (self._expelled or bool(self._superfluous() or self._missing()))

    def _superfluous(self) -> list[TopicPartition]:
        """Held, and another member's or nobody's by now."""
        if not self._cluster.running:
            return []
        return sorted(place for place in self._me.positions if self._group.targets.get(place) != self._name)

    def _missing(self) -> list[TopicPartition]:
        """Ours by now, and given up by whoever held it."""
        if not self._cluster.running:
            return []
        mine = {place for place, name in self._group.targets.items() if name == self._name}
        return sorted(mine - self._group.held())

    def _take(self, limit: int) -> list[ConsumedRecord]:
        """Records of all partitions held; one that was served goes to the end, so that none is starved."""
        positions = self._me.positions
        taken: list[ConsumedRecord] = []
        for place, position in list(positions.items()):
            log = self._cluster.topics[place[0]][place[1]]
            records = log[position : position + limit - len(taken)]
            if records:
                taken += records
                del positions[place]
                positions[place] = position + len(records)
        return taken

    def _check_open(self) -> None:
        if self._closed:
            message = "the consumer is closed"
            raise RuntimeError(message)
