"""The way back: one Redis stream for each client, one entry for each batch.

A stream rather than pub/sub: a reader that lost its connection goes on from the last entry it saw. Workers cap its
length and give it a time to live, so the stream of a client that died goes away by itself.
"""

from __future__ import annotations

from typing import Any

import hiredis

from skysail.topics.errors import DecodeError, UnavailableError
from skysail.topics.names import KeyNames
from skysail.topics.records import ReplyBatch, decode_reply_batch, encode_reply_batch
from skysail.topics.store.channel import StoreChannel
from skysail.topics.store.connection import Command

__all__ = ["STREAM_TTL_S", "ReplyStream", "reply_commands"]

_FIELD = b"b"
_MAX_ENTRIES = 10_000
#: Time to live of a stream that nobody renews: its first batch sets it, the reader renews it.
STREAM_TTL_S = 300


def reply_commands(key: str, batch: ReplyBatch) -> list[Command]:
    """The commands by which a worker hands a batch's outcomes to one client."""
    return [
        ("XADD", key, "MAXLEN", "~", _MAX_ENTRIES, "*", _FIELD, encode_reply_batch(batch)),
        ("EXPIRE", key, STREAM_TTL_S, "NX"),
    ]


class ReplyStream:
    """Reads one client's reply stream, over a channel of its own (a blocking read holds up everything behind it).

    Args:
        channel: connected by `connect`, again after each failure.
        keys: names of the namespace.
        client_id: unique to the process.
        block_ms: how long one read waits for entries.
    """

    def __init__(self, channel: StoreChannel, keys: KeyNames, client_id: str, block_ms: int = 5000) -> None:
        self._channel = channel
        self._key = keys.replies(client_id)
        self._block_ms = block_ms
        self._last: bytes = b"0"

    async def connect(self) -> None:
        """Connect to a store that takes writes: on a read-only replica no reply would ever come.

        Raises:
            UnavailableError: when there is none.
        """
        await self._channel.connect()
        await self._execute(self.trim_command())

    async def _execute(self, command: Command) -> Any:
        try:
            return await self._channel.execute(command)
        except hiredis.ReplyError as error:  # it has just become a replica, or lost its master
            self._channel.close()
            message = f"the store refuses: {error}"
            raise UnavailableError(message) from error

    async def read(self) -> list[ReplyBatch]:
        """The batches that have come in since the last call; an empty list when none came in time.

        Raises:
            UnavailableError: when the store is away; the next call goes on from the same entry.
            DecodeError: when an entry is not a reply batch; the next call goes on behind it.
        """
        command = ("XREAD", "COUNT", 256, "BLOCK", self._block_ms, "STREAMS", self._key, self._last)
        answer = await self._execute(command)
        if answer is None:
            return []
        ((_, entries),) = answer
        batches: list[ReplyBatch] = []
        for entry_id, fields in entries:
            try:
                batches.append(decode_reply_batch(fields[1]))
            except DecodeError:
                if batches:  # they are handed out first; the next call meets the bad entry again
                    break
                self._last = entry_id
                raise
            self._last = entry_id
        return batches

    def renewal_commands(self) -> list[Command]:
        """Keep the stream alive, and drop the entries that have been read. To be sent over another channel."""
        return [("EXPIRE", self._key, STREAM_TTL_S), self.trim_command()]

    def trim_command(self) -> Command:
        """Drop the entries that have been read. A store that cannot be written to refuses it."""
        return ("XTRIM", self._key, "MINID", self._last)
