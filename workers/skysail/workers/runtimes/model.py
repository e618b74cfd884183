"""The protocol of a loaded model, and the calling of predict functions, sync and async."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Protocol

from skysail.topics.errors import ModelError

__all__ = ["FunctionModel", "Model"]


class Model(Protocol):
    """A loaded model. One thread calls it, one batch at a time."""

    def predict(self, batch: Any) -> Any:
        """Outputs for a batch, one for each row: a list, an array, or a dict of arrays (named outputs).

        Args:
            batch: by input type, an array of shape (rows, n) or a list of 1-D arrays where row lengths differ;
                a list of bytes, str or JSON values; or a dict of arrays whose first dimension is the rows.
        """
        ...

    def close(self) -> None:
        """Let go of what the model holds."""
        ...


class FunctionModel:
    """A model that is a function of a batch, plain or ``async def``.

    An async function runs on one event loop that is kept from call to call, so that clients it holds stay connected.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._loop: asyncio.AbstractEventLoop | None = None

    def predict(self, batch: Any) -> Any:
        """Call the function.

        Raises:
            ModelError: when the function tries to end the process; whatever else it raises is passed on.
        """
        try:
            result = self._function(batch)
            return self._await(result) if inspect.isawaitable(result) else result
        except SystemExit as error:
            message = f"predict called sys.exit({error.code!r})"
            raise ModelError(message) from error

    def _await(self, result: Any) -> Any:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop.run_until_complete(_finish(result))

    def close(self) -> None:
        """Close the event loop, if there is one."""
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            asyncio.set_event_loop(None)
            self._loop.close()
            self._loop = None


async def _finish(awaitable: Any) -> Any:
    return await awaitable
