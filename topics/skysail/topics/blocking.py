"""`BlockingPredictionClient`: the prediction client for code without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Self

from skysail.topics.broker import FailureCallback, RecordProducer
from skysail.topics.client import ClientOptions, PredictionClient
from skysail.topics.errors import UnavailableError

__all__ = ["BlockingPredictionClient"]


class BlockingPredictionClient:
    """A `PredictionClient` in an event loop on a thread of its own. Any number of threads may share it.

    ::

        with BlockingPredictionClient({"bootstrap.servers": "localhost:9092"}, "redis://localhost:6379/0") as client:
            outputs = client.predict("digits", [[0.0] * 64])

    Args:
        kafka, redis_url, namespace, options: as in `PredictionClient`.
    """

    def __init__(
        self,
        kafka: Mapping[str, Any] | Callable[[FailureCallback], RecordProducer],
        redis_url: str,
        namespace: str = "default",
        options: ClientOptions | None = None,
    ) -> None:
        self._make: Callable[[], PredictionClient] = partial(PredictionClient, kafka, redis_url, namespace, options)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._client: PredictionClient | None = None
        self._end: asyncio.Event

    def start(self, timeout_s: float = 10.0) -> Self:
        """Connect and load the registry.

        Raises:
            UnavailableError: when that takes longer than `timeout_s`.
        """
        if self._thread is not None:
            message = "the client has been started already"
            raise RuntimeError(message)
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(started, timeout_s)), name="prediction client", daemon=True
        )
        self._thread.start()
        try:
            started.result()
        except BaseException:
            self.close()
            raise
        return self

    async def _run(self, started: Future[None], timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        client = self._make()
        try:
            await client.start(timeout_s)
        except Exception as error:  # noqa: BLE001 - raised in the thread that called `start`
            started.set_exception(error)
            return
        self._client = client
        started.set_result(None)
        await self._end.wait()
        await client.close()

    def predict(
        self,
        model: str,
        inputs: list[Any],
        *,
        version: str | None = None,
        timeout_s: float = 10.0,
        cache_ttl_s: int = 0,
    ) -> list[Any]:
        """Outputs for `inputs`, one for each; `inputs` are JSON values, one row each.

        Raises:
            UnavailableError: also when the client is not started, or closed meanwhile.
            BadInputError, ModelError, ExpiredError, RejectedError, NoModelError: by outcome.
        """
        with self._lock:  # what is handed to the loop before `close` is, is begun before `close` and so ended by it
            if self._client is None:
                message = "the client is not started, or closed"
                raise UnavailableError(message)
            query = self._client.predict(model, inputs, version=version, timeout_s=timeout_s, cache_ttl_s=cache_ttl_s)
            future = asyncio.run_coroutine_threadsafe(query, self._loop)
        return future.result()

    def close(self) -> None:
        """Fail what is in flight, disconnect and end the thread."""
        with self._lock:
            client, self._client = self._client, None
            if client is not None:
                self._loop.call_soon_threadsafe(self._end.set)
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
