"""Puts one frontend process together from its settings."""

from __future__ import annotations

import gc
from pathlib import Path

from skysail.frontend.asgi import Frontend
from skysail.frontend.clipper import ClipperPredict
from skysail.frontend.feedback import Feedback
from skysail.frontend.metadata import Metadata
from skysail.frontend.metrics import FrontendMetrics
from skysail.frontend.oip import OipInfer
from skysail.frontend.rest import rest_application
from skysail.frontend.routes import AppRoutes
from skysail.topics.client import ClientOptions, PredictionClient
from skysail.topics.kafka.publisher import Publisher
from skysail.topics.names import KeyNames
from skysail.topics.settings import FrontendSettings, Settings
from skysail.topics.store.connection import async_store
from skysail.topics.store.workers import WorkerDirectory

__all__ = ["build_frontend"]

_START_S = 60.0
#: Objects allocated before the young generation is collected: a busy frontend holds thousands of live queries, and
#: looking through them 700 allocations apart costs 5 % of its time.
_GC_THRESHOLD = 20_000


def build_frontend(settings: Settings, shared_metrics: Path | None = None) -> Frontend:
    """The ASGI application; nothing is connected before its lifespan starts."""
    own = settings.frontend
    kafka = settings.kafka.librdkafka()
    client = PredictionClient(kafka, settings.redis.url, settings.namespace, _options(own))
    metrics = FrontendMetrics(shared_metrics)
    store = async_store(settings.redis.url)
    publisher = Publisher(kafka)
    metadata = Metadata(client, WorkerDirectory(store, KeyNames(settings.namespace)))

    async def start() -> None:
        await client.start(_START_S)
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD, 50, 50)

    async def stop() -> None:
        await client.close()
        await store.aclose()
        publisher.close()

    return Frontend(
        client=client,
        predict=ClipperPredict(client, AppRoutes(client), metrics, own.max_body_bytes),
        infer=OipInfer(client, metrics, own.max_body_bytes, own.oip_timeout_s),
        rest=rest_application(client, metadata, Feedback(client, publisher), metrics),
        metrics=metrics,
        on_start=start,
        on_stop=stop,
    )


def _options(settings: FrontendSettings) -> ClientOptions:
    return ClientOptions(
        max_in_flight=settings.max_in_flight,
        cache_entries=settings.cache_entries,
        cache_bytes=settings.cache_bytes,
    )
