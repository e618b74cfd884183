"""Puts one frontend process together from its settings, and says in which order it starts and stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from skysail.frontend.asgi import Frontend
from skysail.frontend.behind import Behind
from skysail.frontend.clipper import ClipperPredict
from skysail.frontend.feedback import Feedback
from skysail.frontend.metadata import Metadata
from skysail.frontend.metrics import FrontendMetrics
from skysail.frontend.oip import OipInfer
from skysail.frontend.rest import rest_application
from skysail.frontend.routes import AppRoutes
from skysail.frontend.watch import Watch
from skysail.topics.broker import FailureCallback
from skysail.topics.client import ClientOptions, PredictionClient
from skysail.topics.collector import freeze_and_relax
from skysail.topics.kafka.producer import KafkaProducer
from skysail.topics.kafka.publisher import Publisher
from skysail.topics.names import KeyNames
from skysail.topics.settings import FrontendSettings, Settings
from skysail.topics.store.connection import async_store
from skysail.topics.store.workers import WorkerDirectory

__all__ = ["assemble", "build_frontend"]

#: How long the port stays closed for a broker and a store that do not answer; it opens then all the same, and says 503.
_PATIENCE_S = 2.0
_PROBE_S = 1.0
_FOR_EVER_S = 10 * 365 * 24 * 3600.0
#: Readiness and metadata must not wait for a store that is stuck.
_STORE_ANSWERS_S = 0.8


def build_frontend(settings: Settings, shared_metrics: Path | None = None) -> Frontend:
    """The ASGI application; nothing is connected before its lifespan starts.

    Raises:
        ValueError: when the store's URL is none.
    """
    own = settings.frontend
    kafka = settings.kafka.librdkafka()
    producers: list[KafkaProducer] = []

    def producer(on_failure: FailureCallback) -> KafkaProducer:
        producers.append(KafkaProducer(kafka, on_failure))
        return producers[0]

    client = PredictionClient(producer, settings.redis.url, settings.namespace, _options(own))
    metrics = FrontendMetrics(shared_metrics)
    store = async_store(settings.redis.url, socket_timeout=_STORE_ANSWERS_S)
    feedback = Feedback(client, Publisher(kafka))
    metadata = Metadata(client, WorkerDirectory(store, KeyNames(settings.namespace)))
    watch = Watch(client, metadata, metrics)
    starting: list[asyncio.Task[None]] = []

    async def start() -> None:
        # 1. Whether the broker is there: a producer that nobody has used yet does not know.
        await asyncio.to_thread(producers[0].probe, _PROBE_S)
        # 2. Store and registry. Without them the process is alive but not ready, and goes on trying.
        starting.append(asyncio.create_task(client.start(_FOR_EVER_S), name="start"))
        await asyncio.wait(starting, timeout=_PATIENCE_S)
        watch.start()
        freeze_and_relax()

    async def stop() -> None:
        # The server has answered what it had taken; nothing is in flight but what nobody waits for.
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
        await watch.stop()
        await client.close()
        await store.aclose()
        await asyncio.to_thread(feedback.close)

    return assemble(client, metadata, feedback, metrics, own, on_start=start, on_stop=stop)


def assemble(
    client: PredictionClient,
    metadata: Metadata,
    feedback: Feedback,
    metrics: FrontendMetrics,
    own: FrontendSettings,
    *,
    on_start: Callable[[], Awaitable[None]],
    on_stop: Callable[[], Awaitable[None]],
) -> Frontend:
    """The routes, over what they need."""
    rest = rest_application(client, metadata, feedback, metrics)
    return Frontend(
        predict=ClipperPredict(client, AppRoutes(client), metrics, own.max_body_bytes),
        infer=OipInfer(client, metrics, own.max_body_bytes, own.oip_timeout_s),
        rest=Behind(rest, client.new_id, own.max_body_bytes),
        new_id=client.new_id,
        on_start=on_start,
        on_stop=on_stop,
    )


def _options(settings: FrontendSettings) -> ClientOptions:
    return ClientOptions(
        max_in_flight=settings.max_in_flight,
        cache_entries=settings.cache_entries,
        cache_bytes=settings.cache_bytes,
    )
