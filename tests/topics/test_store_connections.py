"""Both ends of the store, the asyncio channel and the blocking pipeline, must reach it wherever a URL points."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from skysail.topics.errors import UnavailableError
from skysail.topics.store.channel import StoreChannel
from skysail.topics.store.connection import PipelinedStore
from tests.services.factory import factory_of
from tests.topics.secured_stores import PASSWORD, SecuredRedis, SecuredValkey, TlsRedis

QUOTED = quote(PASSWORD, safe="")


@pytest.fixture(scope="module", params=[SecuredRedis, SecuredValkey])
def secured(request: pytest.FixtureRequest) -> Iterator[SecuredRedis]:
    with factory_of(request.param) as start:
        yield start()


async def ask_both(url: str, *commands: tuple[object, ...]) -> list[list[object]]:
    """The answers to `commands` of each end."""
    channel = StoreChannel(url)
    await channel.connect()
    answers = [await channel.execute(command) for command in commands]
    channel.close()
    store = PipelinedStore(url)
    others = store.execute(list(commands))
    store.close()
    return [answers, others]


URLS = {
    "password": f"redis://:{QUOTED}@{{address}}",
    "user": f"redis://default:{QUOTED}@{{address}}/0",
    "database": f"redis://:{QUOTED}@{{address}}/3",
    "unix socket": f"unix://:{QUOTED}@{{path}}",
    "unix socket and database": f"unix://:{QUOTED}@{{path}}?db=3",
}


@pytest.mark.parametrize("kind", URLS)
async def test_a_url_is_followed(secured: SecuredRedis, kind: str) -> None:
    url = URLS[kind].format(address=secured.address, path=secured.socket_path)
    for (info,) in await ask_both(url, ("CLIENT", "INFO")):
        assert isinstance(info, bytes)
        assert b" db=%d " % (3 if "database" in kind else 0) in info
        assert b" user=default " in info


async def test_a_user_of_the_store_is_who_the_url_names(secured: SecuredRedis) -> None:
    url = f"redis://worker:secret@{secured.address}"
    assert await ask_both(url, ("SET", "k", "v"), ("GET", "k")) == [[b"OK", b"v"]] * 2


@pytest.mark.parametrize(
    "url",
    [
        "redis://{address}",
        "redis://:wrong@{address}",
        "redis://nobody:secret@{address}",
        "redis://worker:secret@{address}/3",
    ],
)
async def test_a_store_that_refuses_is_unavailable(secured: SecuredRedis, url: str) -> None:
    there = url.format(address=secured.address)
    channel = StoreChannel(there)
    with pytest.raises(UnavailableError, match=r"the store is away: (NOAUTH|WRONGPASS|NOPERM|AUTH)"):
        await channel.connect()
    assert not channel.connected
    with pytest.raises(UnavailableError):
        PipelinedStore(there).execute([("GET", "k")])


async def test_tls_is_spoken_and_certificates_are_checked() -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    with factory_of(TlsRedis) as start:
        store = start()
        address = f"rediss://127.0.0.1:{store.tls_port}/0"
        trusted = f"{address}?ssl_ca_certs={store.certificate}"
        assert await ask_both(trusted, ("ECHO", "hello")) == [[b"hello"]] * 2
        with pytest.raises(UnavailableError):
            await StoreChannel(address).connect()
        with pytest.raises(UnavailableError):
            PipelinedStore(address).execute([("PING",)])


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:1", "unix:///nowhere/store.sock", "redis://no-such-host.invalid:6379"]
)
async def test_a_store_that_is_not_there_is_unavailable(url: str) -> None:
    with pytest.raises(UnavailableError, match="the store is away"):
        await StoreChannel(url).connect()
    with pytest.raises(UnavailableError, match="the store is away"):
        PipelinedStore(url).execute([("PING",)])
