"""Load that keeps books: over REST, and from a plain Kafka producer that knows nothing of Skysail's client."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import msgspec
from confluent_kafka import Consumer, Message, Producer

from tests.chaos.account import Account
from tests.chaos.models import answer_to
from tests.waiting import wait_until_async

__all__ = ["KafkaLoad", "RestLoad"]

#: Errors that tell the caller what happened and what to do.
_HONEST = frozenset({429, 500, 503, 504})


class RestLoad:
    """Sends `count` queries, each once, from `concurrency` callers.

    Args:
        url: of the predict route.
        account: where outcomes are booked.
        text_of: the input of query number n; all different, so that none is answered from the cache.
        retry: callers send again after a failure, as a client with a retry policy does, until the answer comes.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        account: Account,
        *,
        count: int,
        concurrency: int = 64,
        text_of: Callable[[int], str] = lambda number: f"query {number}",
        retry: bool = False,
    ) -> None:
        self._url = url if callable(url) else lambda: url
        self._account = account
        self._numbers = iter(range(count))
        self._count = count
        self._concurrency = concurrency
        self._text_of = text_of
        self._retry = retry
        self.done = 0
        self.cache_hits = 0

    async def run(self) -> None:
        """Send everything and wait for every outcome."""
        context = httpx.create_ssl_context()  # one for all: making it costs more than a thousand requests
        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(self._caller(context))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RestLoad]:
        """Send in the background of a block; the block's end waits for the last outcome."""
        task = asyncio.create_task(self.run())
        try:
            yield self
            await task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self._account.close()

    async def reached(self, share: float) -> None:
        """Wait until that share of the queries has an outcome."""
        await wait_until_async(lambda: self.done >= share * self._count, 120, f"{share:.0%} of the queries done")

    async def _caller(self, context: ssl.SSLContext) -> None:
        # A client each: the connections of one pool wait for one another.
        async with httpx.AsyncClient(timeout=60, verify=context) as http:
            for number in self._numbers:
                text = self._text_of(number)
                self._account.send(text)
                await self._ask(http, text)
                self.done += 1

    async def _ask(self, http: httpx.AsyncClient, text: str) -> None:
        while True:
            try:
                answer = await http.post(self._url(), json={"input": text})
            except httpx.HTTPError as error:
                if self._retry:
                    await asyncio.sleep(0.1)
                    continue
                self._account.lost[text] = f"{type(error).__name__}: {error}"
                return
            if self._retry and answer.status_code in (429, 503, 504):
                await asyncio.sleep(0.1)
                continue
            self._book(text, answer)
            return

    def _book(self, text: str, answer: httpx.Response) -> None:
        self.cache_hits += answer.headers.get("x-cache") == "HIT"
        if answer.status_code == 200 and answer.json()["output"] == answer_to(text):
            self._account.answer(text, time.monotonic())
        elif answer.status_code in _HONEST and answer.json().get("cause"):
            self._account.failed[text] = f"{answer.status_code} {answer.json()['cause']}"
        else:
            self._account.lost[text] = f"{answer.status_code} {answer.text[:200]}"


class KafkaLoad:
    """Produces bare JSON records with a correlation id and a reply topic, and counts what comes back."""

    def __init__(self, brokers: str, topic: str, reply_topic: str, account: Account, *, count: int) -> None:
        self._producer = Producer(
            {"bootstrap.servers": brokers, "acks": "all", "enable.idempotence": True, "linger.ms": 1}
        )
        self._consumer = Consumer(
            {"bootstrap.servers": brokers, "group.id": f"{reply_topic}-counter", "auto.offset.reset": "earliest"}
        )
        self._consumer.subscribe([reply_topic])
        self._topic = topic
        self._reply_topic = reply_topic
        self._account = account
        self._count = count
        self.done = 0

    async def run(self, *, per_s: float, patience_s: float = 60) -> None:
        """Send all at a steady rate, then wait until each has an answer or nothing came for `patience_s`."""
        sending = asyncio.create_task(self._send(per_s))
        quiet_since = time.monotonic()
        while self.done < self._count and time.monotonic() - quiet_since < patience_s:
            messages = await asyncio.to_thread(self._consumer.consume, 500, 0.2)
            for message in messages:
                self._book(message)
                quiet_since = time.monotonic()
        await sending
        await self._count_late_copies()
        self._consumer.close()
        self._account.close()

    async def _count_late_copies(self) -> None:
        """Duplicates come late, by nature; give them two quiet seconds."""
        while messages := await asyncio.to_thread(self._consumer.consume, 500, 2.0):
            for message in messages:
                self._book(message)

    async def _send(self, per_s: float) -> None:
        started = time.monotonic()
        for number in range(self._count):
            text = f"record {number}"
            self._account.send(text)
            headers = [("correlation-id", text.encode()), ("reply-to", self._reply_topic.encode())]
            self._producer.produce(self._topic, msgspec.json.encode(text), headers=list(headers))
            self._producer.poll(0)
            ahead_s = started + number / per_s - time.monotonic()
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
        await asyncio.to_thread(self._producer.flush, 60)

    def _book(self, message: Message) -> None:
        if message.error() is not None:
            return
        headers = dict(message.headers() or [])
        text = (headers.get("correlation-id") or b"?").decode()  # type: ignore[union-attr]
        self.done += text not in self._account.answers
        outputs = msgspec.json.decode(message.value() or b"null")
        if headers.get("skysail-outcome") == b"ok" and outputs in ([answer_to(text)], answer_to(text)):
            self._account.answer(text, time.monotonic())
        else:
            self._account.failed[text] = f"{headers.get('skysail-outcome')!r} {outputs}"
