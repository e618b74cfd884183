"""Waiting for a condition, with a limit, instead of sleeping and hoping."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from time import monotonic, sleep
from typing import Any, TypeVar, overload

__all__ = ["NotReachedError", "wait_until", "wait_until_async"]

T = TypeVar("T")
Message = str | Callable[[], str]

#: Between two looks, in seconds: short beside what is waited for, long enough to cost little on two cores.
LOOK_EVERY_S = 0.01


class NotReachedError(AssertionError):
    """Raised when a condition did not come true within its limit."""

    def __init__(self, message: Message, timeout_s: float) -> None:
        super().__init__(f"not within {timeout_s:g} s: {message() if callable(message) else message}")


def wait_until(predicate: Callable[[], T], timeout_s: float, message: Message) -> T:
    """Returns the first true value of the predicate, which is called at least once.

    Args:
        predicate: looked at every 10 ms; what it raises is passed on at once.
        timeout_s: the limit.
        message: what was waited for, for the failure; a callable is asked only then.

    Raises:
        NotReachedError: when the limit has passed.
    """
    limit = monotonic() + timeout_s
    while not (value := predicate()):
        if monotonic() >= limit:
            raise NotReachedError(message, timeout_s)
        sleep(LOOK_EVERY_S)
    return value


@overload
async def wait_until_async(predicate: Callable[[], Awaitable[T]], timeout_s: float, message: Message) -> T: ...


@overload
async def wait_until_async(predicate: Callable[[], T], timeout_s: float, message: Message) -> T: ...


async def wait_until_async(predicate: Callable[[], Any], timeout_s: float, message: Message) -> Any:
    """The same on an event loop, which goes on between two looks; the predicate may be a coroutine function."""
    limit = monotonic() + timeout_s
    while not (value := await _look(predicate)):
        if monotonic() >= limit:
            raise NotReachedError(message, timeout_s)
        await asyncio.sleep(LOOK_EVERY_S)
    return value


async def _look(predicate: Callable[[], Any]) -> Any:
    value = predicate()
    return await value if inspect.isawaitable(value) else value
