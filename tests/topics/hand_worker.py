"""A worker played by hand: a test decides which query is answered when, and how."""

from __future__ import annotations

from collections.abc import Iterable

from skysail.topics.broker import TopicPartition
from skysail.topics.memory import MemoryBroker
from skysail.topics.names import KeyNames
from skysail.topics.records import Query, Reply, ReplyBatch, decode_query
from skysail.topics.store.connection import PipelinedStore
from skysail.topics.store.replies import reply_commands
from tests.waiting import wait_until_async

__all__ = ["HandWorker"]


class HandWorker:
    """Reads a topic of the in-memory broker, and writes outcomes to a real store."""

    def __init__(self, broker: MemoryBroker, redis_url: str, namespace: str, topic: str, version: str = "1") -> None:
        self.taken: list[Query] = []
        self._version = version
        self._keys = KeyNames(namespace)
        self._store = PipelinedStore(redis_url)
        self._consumer = broker.consumer("hand", self)
        self._consumer.subscribe([topic])

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """All partitions are this worker's."""

    def revoked(self, partitions: Iterable[TopicPartition], *, lost: bool) -> None:
        """There is no other member."""

    def look(self) -> list[Query]:
        """What has come in by now, of all that ever came."""
        self.taken += [decode_query(record) for record in self._consumer.poll(10_000, 0)]
        return self.taken

    async def take(self, count: int) -> list[Query]:
        """The first `count` queries, waited for, and no more."""

        def enough() -> bool:
            return len(self.look()) >= count

        await wait_until_async(enough, 10, lambda: f"{count} queries, {len(self.taken)} came")
        assert len(self.taken) == count
        return self.taken

    def answer(self, *queries: Query, outcome: str = "ok", value: bytes | None = None) -> None:
        """One batch of outcomes; the answer is the payload itself."""
        by_client: dict[str, list[Reply]] = {}
        for query in queries:
            assert query.reply_to is not None
            reply = Reply(query.id, outcome, query.payload if value is None else value, queue_us=3)
            by_client.setdefault(query.reply_to.removeprefix("redis:"), []).append(reply)
        for client, replies in by_client.items():
            batch = ReplyBatch("hand", self._version, len(replies), 7, replies)
            self._store.execute(reply_commands(self._keys.replies(client), batch))

    def write(self, *command: object) -> None:
        """Any other command for the store."""
        self._store.execute([command])

    def close(self) -> None:
        """Leave the group and disconnect."""
        self._consumer.close()
        self._store.close()
