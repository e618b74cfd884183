from collections.abc import Callable

import pytest
import redis

from tests.services import Redis, Valkey
from tests.services.factory import Factory
from tests.services.readiness import store_answers
from tests.waiting import wait_until


@pytest.fixture(params=["own_redis", "own_embedded_store"])
def own_store(request: pytest.FixtureRequest) -> Callable[[], Redis]:
    """Starts a Redis, or an embedded Valkey, for this test alone."""
    factory: Factory[Redis] = request.getfixturevalue(request.param)
    return factory


def test_a_restarted_store_has_its_keys_on_the_same_port(own_store: Callable[[], Redis]) -> None:
    store = own_store()
    url = store.url
    with redis.Redis.from_url(url) as client:
        client.set("kept", "1")

        store.restart()

        assert store.url == url
        assert client.get("kept") == b"1"


def test_a_killed_store_has_all_that_it_acknowledged(own_store: Callable[[], Redis]) -> None:
    store = own_store()
    with redis.Redis.from_url(store.url) as client:
        # With `everysec` a write that meets a sync in progress is kept in memory for up to two seconds.
        client.config_set("appendfsync", "always")
        for number in range(1000):
            client.xadd("kept", {"n": number})

        store.kill()
        assert not store_answers(store.port)
        store.start()

        assert client.xlen("kept") == 1000


def test_a_store_that_lost_its_data_is_empty(own_store: Callable[[], Redis]) -> None:
    store = own_store()
    with redis.Redis.from_url(store.url) as client:
        client.set("gone", "1")

        store.restart(keep_data=False)

        assert client.dbsize() == 0


def test_a_paused_store_does_not_answer(own_store: Callable[[], Redis]) -> None:
    store = own_store()

    store.pause()
    assert not store_answers(store.port)
    store.resume()

    assert wait_until(lambda: store_answers(store.port), 20, "an answer after the pause")


def test_the_shared_stores_are_different_servers(redis_server: Redis, embedded_store: Valkey) -> None:
    assert redis_server.port != embedded_store.port
    with redis.Redis.from_url(embedded_store.url) as client:
        assert client.info("server")["server_name"] == "valkey"
