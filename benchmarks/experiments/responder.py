"""Stands in for the workers of many models: one process that answers every query at once with 0.

What is measured is the frontend; a hundred worker processes would only crowd two cores.
`python -m … ADDRESS STORE_URL READY_FILE MODEL…`
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from skysail.topics.broker import TopicPartition
from skysail.topics.kafka.consumer import KafkaConsumer
from skysail.topics.names import KeyNames, TopicNames
from skysail.topics.records import ConsumedRecord, Reply, ReplyBatch, decode_query
from skysail.topics.store.connection import PipelinedStore
from skysail.topics.store.replies import reply_commands

__all__ = ["VERSION", "Responder"]

VERSION = "1"
_MOST = 1024
_COMMIT_S = 0.1


class Responder:
    """Owns every partition of the models' version topics.

    Args:
        ready: a file that is made once all partitions are assigned.
        partitions: of all topics together.
    """

    def __init__(self, address: str, store_url: str, models: Sequence[str], ready: Path, partitions: int) -> None:
        self._topics = [TopicNames().version(model, VERSION) for model in models]
        self._store = PipelinedStore(store_url)
        self._consumer = KafkaConsumer({"bootstrap.servers": address}, "bench.responder", self)
        self._keys = KeyNames()
        self._ready = ready
        self._wanted = partitions
        self._assigned: set[TopicPartition] = set()

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """More partitions are here."""
        self._assigned.update(partitions)
        if len(self._assigned) >= self._wanted:
            self._ready.touch()

    def revoked(self, partitions: Iterable[TopicPartition], *, lost: bool) -> None:  # noqa: ARG002 - the protocol's
        """Fewer are."""
        self._assigned.difference_update(partitions)

    def run(self) -> None:
        """Answer until the process is ended."""
        self._consumer.subscribe(self._topics)
        offsets: dict[TopicPartition, int] = {}
        commit_at_s = time.monotonic() + _COMMIT_S
        while True:
            records = self._consumer.poll(_MOST, 0.25)
            self._answer(records)
            offsets |= {(record.topic, record.partition): record.offset + 1 for record in records}
            if offsets and time.monotonic() >= commit_at_s:
                self._consumer.commit(offsets, wait=False)
                offsets, commit_at_s = {}, time.monotonic() + _COMMIT_S

    def _answer(self, records: list[ConsumedRecord]) -> None:
        by_client: dict[str, list[Reply]] = defaultdict(list)
        for query in map(decode_query, records):
            by_client[(query.reply_to or "").removeprefix("redis:")].append(Reply(query.id, "ok", b"[0]"))
        for client, replies in by_client.items():
            batch = ReplyBatch("responder", VERSION, len(replies), 1, replies)
            self._store.execute(reply_commands(self._keys.replies(client), batch))


if __name__ == "__main__":
    Responder(sys.argv[1], sys.argv[2], sys.argv[5:], Path(sys.argv[3]), int(sys.argv[4])).run()
