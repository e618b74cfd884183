"""Dead letters of a model: found, sent once more, deleted."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from skysail.admin.service.ledger import Ledger
from skysail.topics.dead_letters import DeadLetter, LetterFilter, read_dead_letter, replayed_headers
from skysail.topics.errors import DecodeError, NotFoundError
from skysail.topics.kafka.letters import TopicReader
from skysail.topics.kafka.publisher import Publisher
from skysail.topics.names import KeyNames, TopicNames, dead_letter_topic
from skysail.topics.store.connection import unavailable

__all__ = ["DeadLetters", "Found"]

_STORED_WITHIN_S = 5.0


class Found(msgspec.Struct, frozen=True):
    """A letter, and when it was sent once more (unix ms); None: it was not."""

    letter: DeadLetter
    replayed_ms: int | None


class DeadLetters:
    """Operates on the dead-letter topics of registered models.

    Args:
        ledger: what is registered.
        reader, publisher: the way to the broker.
        store: remembers what was sent once more; the client's own.
        names, keys: of the namespace.
        now_ms: unix milliseconds.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        reader: TopicReader,
        publisher: Publisher,
        store: Redis,
        names: TopicNames,
        keys: KeyNames,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._ledger = ledger
        self._reader = reader
        self._publisher = publisher
        self._store = store
        self._names = names
        self._keys = keys
        self._now_ms = now_ms

    async def find(self, model: str, version: str | None, wanted: LetterFilter, limit: int) -> list[Found]:
        """The last `limit` letters that are meant, in the order of their burial.

        Args:
            model: registered.
            version: of its version's topic alone; None: of all its topics.
            wanted: which letters.
            limit: of letters.

        Raises:
            NotFoundError: when there is no such model or version.
            UnavailableError: when broker or store does not answer.
        """
        letters: list[DeadLetter] = []
        for topic in await self._topics(model, version):
            letters += await asyncio.to_thread(self._read, topic, wanted, limit)
        letters.sort(key=lambda letter: letter.buried_ms)
        replayed = await self._replayed({letter.record.topic for letter in letters})
        return [
            Found(letter, replayed.get((letter.record.topic, letter.place)))
            for letter in letters[len(letters) - min(limit, len(letters)) :]
        ]

    async def _topics(self, model: str, version: str | None) -> list[str]:
        versions = (await self._ledger.snapshot()).models.get(model)
        if versions is None:
            message = f"no model is named {model!r}"
            raise NotFoundError(message)
        if version is not None and version not in versions:
            message = f"model {model!r} has no version {version!r}; it has {', '.join(sorted(versions))}"
            raise NotFoundError(message)
        own = [self._names.version(model, one) for one in ([version] if version is not None else sorted(versions))]
        topics = own if version is not None else [self._names.model(model), *own]
        return [dead_letter_topic(topic) for topic in topics]

    def _read(self, topic: str, wanted: LetterFilter, limit: int) -> Iterable[DeadLetter]:
        last: deque[DeadLetter] = deque(maxlen=limit)
        for record in self._reader.read(topic):
            try:
                letter = read_dead_letter(record)
            except DecodeError:
                continue  # somebody else's record: it has no way back
            if wanted.matches(letter):
                last.append(letter)
        return last

    async def _replayed(self, topics: Iterable[str]) -> dict[tuple[str, str], int]:
        found: dict[tuple[str, str], int] = {}
        for topic in topics:
            noted = await self._asked(self._store.hgetall(self._keys.replayed(topic)))
            found |= {(topic, place.decode()): int(at_ms) for place, at_ms in noted.items()}
        return found

    async def _asked(self, call: Any) -> Any:
        try:
            return await call
        except (RedisError, OSError) as error:
            raise unavailable(error) from error

    async def replay(self, found: Iterable[Found], model: str, *, to_model: bool) -> None:
        """Send letters once more, with their ids, to the topics that they came from.

        A letter whose outcome was kept as a job gets a new one: the failure that is kept there is dropped.

        Args:
            found: from `find`.
            model: whose letters they are.
            to_model: send them to the model's own topic instead: its current version answers.

        Raises:
            UnavailableError: when broker or store does not answer; letters before that have been sent.
        """
        for one in found:
            letter = one.letter
            if letter.waits:
                await self._asked(self._store.delete(self._keys.job(letter.query_id)))
            await asyncio.to_thread(self._send, letter, self._names.model(model) if to_model else letter.topic)
            note = self._keys.replayed(letter.record.topic)
            await self._asked(self._store.hset(note, letter.place, str(self._now_ms())))

    def _send(self, letter: DeadLetter, topic: str) -> None:
        record = letter.record
        self._publisher.publish(topic, record.value or b"", record.key, replayed_headers(letter), _STORED_WITHIN_S)

    async def purge(self, found: Iterable[Found]) -> None:
        """Delete letters, and all before them on their partitions: a log loses its head, never a part of its middle.

        Raises:
            UnavailableError: when broker or store does not answer.
            ConflictError: when the broker refuses.
        """
        ends: dict[str, dict[int, int]] = {}
        for one in found:
            record = one.letter.record
            before = ends.setdefault(record.topic, {})
            before[record.partition] = max(before.get(record.partition, 0), record.offset + 1)
        for topic, before in ends.items():
            await asyncio.to_thread(self._reader.cut, topic, before)
            note = self._keys.replayed(topic)
            noted = await self._asked(self._store.hkeys(note))
            gone = [place for place in noted if _is_before(place.decode(), before)]
            if gone:
                await self._asked(self._store.hdel(note, *gone))

    def close(self) -> None:
        """Disconnect."""
        self._publisher.close()


def _is_before(place: str, ends: dict[int, int]) -> bool:
    partition, _, offset = place.partition("/")
    return int(offset) < ends.get(int(partition), 0)
