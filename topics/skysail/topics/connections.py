"""A client's connections: the producer and two channels to the store, watched and brought back by two tasks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import hiredis

from skysail.topics.broker import RecordProducer
from skysail.topics.errors import DecodeError, UnavailableError
from skysail.topics.names import KeyNames
from skysail.topics.records import ReplyBatch
from skysail.topics.store.channel import StoreChannel
from skysail.topics.store.replies import ReplyStream
from skysail.topics.tasks import cancel_all

__all__ = ["Connections"]

_KEEPER_S = 1.0
#: A caller who waits must hear within a second that store or broker hangs: how long the store may be silent while
#: somebody waits before it is asked for a sign of life (the producer knows by itself), and how long that may take.
_SILENCE_S = 0.25
_STORE_ANSWERS_S = 0.4
_BROKER_ANSWERS_S = 0.3
_PROBE_EVERY_S = 0.25
_RENEW_EVERY = 30
#: Between two tries to reach a store that is away, in seconds: at first, and at most.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.25


class Connections:
    """Both ends of a client. Lives in one event loop: `start` before use, `close` after.

    Attributes:
        producer: to the broker.
        channel: to the store, for everything but replies.
        store_available: False while the store is known to be away.

    Args:
        producer: not yet connected.
        redis_url: of the store.
        keys: names of the namespace.
        client_id: whose replies are read.
        on_replies: takes each batch that comes in.
        on_store_lost: called when a store that went away has not come back in time.
        store_grace_s: that time.
    """

    def __init__(
        self,
        producer: RecordProducer,
        redis_url: str,
        keys: KeyNames,
        client_id: str,
        *,
        on_replies: Callable[[ReplyBatch], None],
        on_store_lost: Callable[[], None],
        store_grace_s: float,
    ) -> None:
        self.producer = producer
        self.channel = StoreChannel(redis_url)
        self.store_available = False
        self._replies_channel = StoreChannel(redis_url)
        self._stream = ReplyStream(self._replies_channel, keys, client_id)
        self._on_replies = on_replies
        self._on_store_lost = on_store_lost
        self._store_grace_s = store_grace_s
        self._heard_at = 0.0
        self._look_now = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._loop = asyncio.get_running_loop()
        self._tasks = [
            asyncio.create_task(self._persist(self._read_replies), name="replies"),
            asyncio.create_task(self._persist(self._keep), name="client keeper"),
        ]

    async def close(self) -> None:
        """Disconnect."""
        await cancel_all(self._tasks)
        self._tasks = []
        self._replies_channel.close()
        self.channel.close()
        await asyncio.to_thread(self.producer.close)

    async def _persist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Go on after a fault: without its background tasks a client would look well and answer nothing."""
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - reported, to the log of the event loop
                self._loop.call_exception_handler({"message": "a task of the client failed", "exception": error})
                await asyncio.sleep(_KEEPER_S)

    @property
    def missing(self) -> str:
        """Which end is known to be away; empty when none is."""
        if not self.store_available:
            return "the store is away"
        return "" if self.producer.available else "the broker is away"

    def look(self, now_s: float) -> None:
        """Serve the producer's reports, and have everything looked at where there is reason to doubt it.

        To be called every few milliseconds while somebody waits.
        """
        producer = self.producer
        producer.poll()
        if not producer.available or producer.in_doubt or now_s - self._heard_at > _SILENCE_S:
            self._look_now.set()

    # ------------------------------------------------------------------------------------------------ replies

    async def _read_replies(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                if not self._replies_channel.connected:
                    await self._stream.connect()
                    self._set_store_available(available=True)
                batches = await self._stream.read()
                self._heard_at = self._loop.time()
                for batch in batches:
                    self._on_replies(batch)
                pause_s = _FIRST_PAUSE_S
            except DecodeError:
                continue  # an entry that no worker of ours wrote; the reader is past it
            except UnavailableError:
                self._set_store_available(available=False)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _set_store_available(self, *, available: bool) -> None:
        now = self._loop.time()
        if available:
            self._heard_at = now
        elif self.store_available:
            self._loop.call_later(max(0.0, self._store_grace_s - (now - self._heard_at)), self._give_up_on_store)
        self.store_available = available

    def _give_up_on_store(self) -> None:
        if not self.store_available:
            self._on_store_lost()

    # ------------------------------------------------------------------------------------------------ keeping

    async def _keep(self) -> None:
        """Watch the connections that no query is using, and bring them back."""
        beat = 0
        while True:
            await self._keep_channel(renew=beat % _RENEW_EVERY == 0)
            self.producer.poll()
            await self._keep_broker()
            beat += 1
            await self._rest()

    async def _keep_broker(self) -> None:
        """Find out whether the broker is there; what it has not stored when it is not, has failed."""
        if self.producer.available and not self.producer.in_doubt:
            return
        if not await asyncio.to_thread(self.producer.probe, _BROKER_ANSWERS_S):
            self.producer.abandon()

    async def _rest(self) -> None:
        """Until the next look; sooner while something is away, or when somebody waits and nothing is heard."""
        if self.missing:
            await asyncio.sleep(_PROBE_EVERY_S)
            return
        self._look_now.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._look_now.wait(), _KEEPER_S)

    async def _keep_channel(self, *, renew: bool) -> None:
        try:
            if not self.channel.connected:
                await self.channel.connect()
        except UnavailableError:  # away, which the reply reader has noticed; or stuck, which it would wait through
            self._replies_channel.close()
            return
        try:
            commands = self._stream.renewal_commands() if renew else [self._stream.trim_command()]
            async with asyncio.timeout(_STORE_ANSWERS_S):
                await asyncio.gather(*[self.channel.execute(command) for command in commands])
            self._heard_at = self._loop.time()
        except UnavailableError:
            return  # the reply reader notices as well, and says so
        except (TimeoutError, hiredis.ReplyError):  # connected, but the store is stuck or takes no writes
            self.channel.close()
            self._replies_channel.close()
