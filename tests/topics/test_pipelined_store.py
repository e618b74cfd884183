from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from redis.exceptions import ResponseError

from skysail.topics.errors import UnavailableError
from skysail.topics.names import KeyNames
from skysail.topics.store.connection import PipelinedStore
from tests.services import Redis
from tests.services.factory import Factory


@pytest.fixture
def pipeline(store: Redis) -> Iterator[PipelinedStore]:
    pipeline = PipelinedStore(store.url)
    yield pipeline
    pipeline.close()


def test_answers_come_in_the_order_of_the_commands(pipeline: PipelinedStore) -> None:
    assert pipeline.execute([("ECHO", f"{number}") for number in range(500)]) == [b"%d" % n for n in range(500)]


def test_no_commands_have_no_answers(pipeline: PipelinedStore) -> None:
    assert pipeline.execute([]) == []


def test_an_error_in_the_middle_stands_in_its_place(pipeline: PipelinedStore, keys: KeyNames) -> None:
    key = keys.job("list")
    answers = pipeline.execute([("RPUSH", key, "a"), ("GET", key), ("SET", key + "2", "v", "EX", -1), ("LLEN", key)])
    assert (answers[0], answers[3]) == (1, 1)
    assert [isinstance(answer, ResponseError) for answer in answers] == [False, True, True, False]
    assert "WRONGTYPE" in str(answers[1])
    assert pipeline.execute([("LLEN", key)]) == [1], "the connection is still in step"


def test_values_are_bytes_as_they_were(pipeline: PipelinedStore, keys: KeyNames) -> None:
    value = bytes(range(256)) * 40_000
    pipeline.execute([("SET", keys.job("large"), value, "EX", 60)])
    assert pipeline.execute([("GET", keys.job("large")), ("GET", keys.job("none"))]) == [value, None]


def test_a_connection_that_was_dropped_fails_one_call_and_is_made_anew_by_the_next(own_redis: Factory[Redis]) -> None:
    store = own_redis()
    pipeline = PipelinedStore(store.url)
    pipeline.execute([("PING",)])
    with redis.Redis.from_url(store.url) as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with pytest.raises(UnavailableError, match="the store is away"):
        pipeline.execute([("PING",)])
    assert pipeline.execute([("ECHO", "again")]) == [b"again"]
    pipeline.close()


def test_a_store_that_is_restarted_is_found_again(own_redis: Factory[Redis]) -> None:
    store = own_redis()
    pipeline = PipelinedStore(store.url)
    pipeline.execute([("SET", "k", "v")])
    store.stop()
    for _ in range(3):
        with pytest.raises(UnavailableError):
            pipeline.execute([("GET", "k")])
    store.start()
    assert pipeline.execute([("GET", "k")]) == [b"v"]
    pipeline.close()


def test_a_closed_pipeline_connects_again_when_it_is_used(pipeline: PipelinedStore) -> None:
    pipeline.execute([("PING",)])
    pipeline.close()
    pipeline.close()
    assert pipeline.execute([("ECHO", "x")]) == [b"x"]
