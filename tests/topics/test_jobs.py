from __future__ import annotations

import pytest

from skysail.topics.errors import DecodeError
from skysail.topics.names import KeyNames
from skysail.topics.records import Reply, ReplyBatch, encode_reply_batch
from skysail.topics.store.connection import PipelinedStore
from skysail.topics.store.jobs import decode_job, job_store_command
from tests.services import Redis


def outcome(value: bytes) -> ReplyBatch:
    return ReplyBatch("w", "1", 1, 5, [Reply("q", "ok", value)])


def test_the_first_outcome_that_is_stored_stays(store: Redis, keys: KeyNames) -> None:
    pipeline = PipelinedStore(store.url)
    key = keys.job("q")
    answers = pipeline.execute([job_store_command(key, outcome(value), 60) for value in (b"[1]", b"[2]")])
    assert answers == [b"OK", None]
    (data,) = pipeline.execute([("GET", key)])
    assert decode_job(data) == (outcome(b"[1]"), outcome(b"[1]").replies[0])
    assert pipeline.execute([("TTL", key)]) == [60]
    pipeline.close()


@pytest.mark.parametrize("replies", [[], outcome(b"").replies * 2])
def test_a_job_that_does_not_hold_one_outcome_is_a_decode_error(replies: list[Reply]) -> None:
    data = encode_reply_batch(ReplyBatch("w", "1", 1, 5, replies))
    with pytest.raises(DecodeError) as caught:
        decode_job(data)
    assert caught.value.data == data


def test_bytes_that_are_no_job_are_a_decode_error() -> None:
    with pytest.raises(DecodeError):
        decode_job(b"nonsense")
