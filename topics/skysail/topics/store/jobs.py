"""Outcomes that nobody waits for: kept by query id, to be asked for later."""

from __future__ import annotations

from skysail.topics.errors import DecodeError
from skysail.topics.records import Reply, ReplyBatch, decode_reply_batch, encode_reply_batch
from skysail.topics.store.connection import Command

__all__ = ["decode_job", "job_store_command"]


def job_store_command(key: str, batch: ReplyBatch, ttl_s: int) -> Command:
    """The command by which a worker keeps one query's outcome, a batch of one reply; the first one stored stays."""
    return ("SET", key, encode_reply_batch(batch), "NX", "EX", ttl_s)


def decode_job(data: bytes) -> tuple[ReplyBatch, Reply]:
    """Read a kept outcome, and the figures of the batch that it came from.

    Raises:
        DecodeError: when the bytes are not a batch of one reply.
    """
    batch = decode_reply_batch(data)
    if len(batch.replies) != 1:
        message = f"a job holds {len(batch.replies)} outcomes: expected one"
        raise DecodeError(message, data)
    return batch, batch.replies[0]
