"""A broker and a store that somebody else runs: asked first, so that a wrong address is said soon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from pydantic import ValidationError

from skysail.admin.embedded.broker import broker_problem
from skysail.admin.embedded.options import StackError, StackOptions
from skysail.admin.embedded.redaction import without_password
from skysail.admin.embedded.store import store_problem
from skysail.topics.settings import Settings

__all__ = ["check_given"]

_LOOK_EVERY_S = 0.2


async def check_given(options: StackOptions) -> None:
    """Ask what is named by `--kafka` and `--redis`, for a few seconds: it may be about to come up.

    Raises:
        StackError: naming the address that does not answer, its flag and the reason.
    """
    if options.kafka is not None:
        properties = _properties(options.kafka)
        await _ask(f"the broker {options.kafka} (--kafka)", lambda: broker_problem(properties), options.given_timeout_s)
    if options.redis is not None:
        url = options.redis
        shown = without_password(url)
        await _ask(f"the store {shown} (--redis)", lambda: store_problem(url), options.given_timeout_s)


def _properties(address: str) -> dict[str, object]:
    """As the frontend and the admin process will connect: with TLS and SASL as the environment says."""
    try:
        kafka = Settings().kafka
    except ValidationError as error:
        raise StackError(str(error)) from error
    return kafka.model_copy(update={"bootstrap_servers": address}).librdkafka()


async def _ask(what: str, problem: Callable[[], Awaitable[str | None]], timeout_s: float) -> None:
    limit = time.monotonic() + timeout_s
    while (reason := await problem()) is not None:
        if time.monotonic() >= limit:
            message = f"{what} does not answer: {reason}"
            raise StackError(message)
        await asyncio.sleep(_LOOK_EVERY_S)
