"""A frontend in the test's process, in front of a client that runs the model itself.

The fake client stands for broker, store and worker; payloads are read and outputs written by the worker's own code, so
that what a route encodes is what a worker takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import httpx

from skysail.frontend.asgi import Frontend
from skysail.frontend.build import assemble
from skysail.frontend.feedback import Feedback
from skysail.frontend.metadata import Metadata
from skysail.frontend.metrics import FrontendMetrics
from skysail.topics.client import Answer, PredictionClient, Target
from skysail.topics.errors import DecodeError, ModelError, SkysailError, UnavailableError
from skysail.topics.ids import Uuid7Generator
from skysail.topics.names import TopicNames
from skysail.topics.payloads import JSON, TENSOR
from skysail.topics.pending import Lane
from skysail.topics.records import ConsumedRecord, Header, Outcome, Query
from skysail.topics.settings import FrontendSettings
from skysail.topics.specs import (
    ApplicationSpec,
    InputType,
    Link,
    ModelSpec,
    TensorSpec,
    WorkerHeartbeat,
)
from skysail.topics.store.registry import RegistrySnapshot
from skysail.topics.store.workers import WorkerDirectory
from skysail.workers.inputs import reader_for
from skysail.workers.outputs import outputs_of
from skysail.workers.work import Work

__all__ = ["FakeClient", "FakePublisher", "Stage", "app", "model", "stage_of"]

Predict = Callable[[Any], Any]


def model(name: str = "m", version: str = "1", kind: str = "doubles", **fields: Any) -> ModelSpec:
    """A version; `inputs` and `outputs` are tuples of (name, datatype, shape)."""
    for part in ("inputs", "outputs"):
        if part in fields:
            fields[part] = tuple(TensorSpec(*tensor) for tensor in fields[part])
    return ModelSpec(name=name, version=version, input_type=InputType(kind), **fields)


def app(name: str = "a", kind: str = "doubles", **fields: Any) -> ApplicationSpec:
    """An application; `default` gives it a default output."""
    if "default" in fields:
        fields |= {"default_output": fields.pop("default"), "has_default": True}
    return ApplicationSpec(name=name, input_type=InputType(kind), **fields)


class FakeView:
    """The registry's picture."""

    def __init__(self, snapshot: RegistrySnapshot) -> None:
        self.snapshot = snapshot
        self.loaded = True


class FakeClient:
    """What a route sees of a `PredictionClient`.

    Attributes:
        asked: every query, in order.
        timeouts_ms: of each.
        refuse: raised by `ask`, for the queries that it says True to.
        answers: outcome and cause to give instead of asking the model, by its own decision for each query.
    """

    def __init__(self, snapshot: RegistrySnapshot, predict: Predict) -> None:
        self.view = FakeView(snapshot)
        self.topics = TopicNames("test")
        self.new_id = Uuid7Generator()
        self.predict = predict
        self.asked: list[Query] = []
        self.timeouts_ms: list[int] = []
        self.refuse: Callable[[Query], SkysailError | None] = lambda _: None
        self.answers: Callable[[Query], tuple[str, str] | None] = lambda _: None
        self.source = "model"
        self.in_flight = 0
        self.broker_available = True
        self.store_available = True

    def target(self, name: str, version: str | None = None) -> Target:
        spec = self.view.snapshot.model(name, version)
        return Target(spec, self.topics.version(name, spec.version), f"cache:{spec.key}:", Lane("topic", 1))

    async def ask(
        self,
        target: Target,
        payload: bytes,
        *,
        timeout_ms: int,
        content_type: str = JSON,
        rows: int | None = 1,
        accept: str = JSON,
        cache_ttl_s: int = 0,
        traceparent: str | None = None,
        query_id: str | None = None,
    ) -> Answer:
        query = Query(
            query_id or self.new_id(),
            payload,
            content_type,
            rows,
            accept=accept,
            cache_ttl_s=cache_ttl_s,
            traceparent=traceparent,
        )
        self.asked.append(query)
        self.timeouts_ms.append(timeout_ms)
        await asyncio.sleep(0)
        refusal = self.refuse(query)
        if refusal is not None:
            raise refusal
        given = self.answers(query)
        if given is not None:
            outcome, cause = given
            return Answer(outcome, cause.encode(), tensor=False, version=target.spec.version, source=self.source)
        return self._compute(target.spec, query)

    def _compute(self, spec: ModelSpec, query: Query) -> Answer:
        work = Work(query, ConsumedRecord("topic", 0, 0, query.payload))
        reader = reader_for(spec)
        outcome, tensor = Outcome.OK, False
        try:
            reader.read(work)
            outputs = self._outputs(reader.join([work]), work.rows, spec)
            tensors = outputs.tensors(0, len(outputs)) if query.accept == TENSOR else None
            value = outputs.json(0, len(outputs)) if tensors is None else tensors
            tensor = tensors is not None
        except ModelError as error:
            outcome, value = Outcome.MODEL_ERROR, str(error).encode()
        except (SkysailError, DecodeError) as error:
            outcome, value = Outcome.BAD_INPUT, str(error).encode()
        answer = Answer(outcome, value, tensor=tensor, version=spec.version, source=self.source)
        answer.queue_us, answer.predict_us = 1500, 2500
        return answer

    def _outputs(self, batch: Any, rows: int, spec: ModelSpec) -> Any:
        try:
            result = self.predict(batch)
        except Exception as error:
            raise ModelError(str(error)) from error
        return outputs_of(result, rows, spec.outputs)


class FakePublisher:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes, bytes | None, dict[str, bytes]]] = []
        self.away = False

    def publish(self, topic: str, value: bytes, key: bytes | None, headers: list[Header], timeout_s: float) -> None:
        assert 0 < timeout_s < 1
        if self.away:
            message = "the broker did not store the record"
            raise UnavailableError(message)
        self.published.append((topic, value, key, dict(headers)))

    def close(self) -> None:
        return


class FakeWorkers:
    """The workers' heartbeats."""

    def __init__(self) -> None:
        self.beats: list[WorkerHeartbeat] = []
        self.away = False

    async def alive(self, name: str | None = None, version: str | None = None) -> list[WorkerHeartbeat]:
        if self.away:
            message = "the store is away"
            raise UnavailableError(message)
        return [beat for beat in self.beats if name in (None, beat.model) and version in (None, beat.version)]

    async def ready(self, name: str, version: str) -> list[WorkerHeartbeat]:
        return [beat for beat in await self.alive(name, version) if beat.state == "ready"]


class Stage:
    """A frontend, what it stands on, and a client to ask it."""

    def __init__(self, snapshot: RegistrySnapshot, predict: Predict, settings: FrontendSettings) -> None:
        self.client = FakeClient(snapshot, predict)
        self.publisher = FakePublisher()
        self.workers = FakeWorkers()
        self.metrics = FrontendMetrics()
        client = cast("PredictionClient", self.client)
        self.feedback = Feedback(client, cast("Any", self.publisher))
        metadata = Metadata(client, cast("WorkerDirectory", self.workers))
        self.frontend: Frontend = assemble(
            client, metadata, self.feedback, self.metrics, settings, on_start=_nothing, on_stop=_nothing
        )
        transport = httpx.ASGITransport(self.frontend)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://frontend")

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """POST a JSON value, or `content` as it is."""
        if body is not None:
            options["json"] = body
        return await self.http.post(path, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.http.get(path, **options)

    async def predict(self, body: Any, **options: Any) -> httpx.Response:
        """Ask application `a`."""
        return await self.post("/a/predict", body, **options)

    def samples(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        """The values of a metric, by their labels."""
        lines = self.metrics.render(0).decode().splitlines()
        found: dict[tuple[tuple[str, str], ...], float] = {}
        for line in lines:
            head, _, value = line.rpartition(" ")
            own, _, labels = head.partition("{")
            if own == name:
                pairs = [pair.split("=", 1) for pair in labels.rstrip("}").split(",") if pair]
                found[tuple((key, text.strip('"')) for key, text in pairs)] = float(value)
        return found

    async def close(self) -> None:
        self.feedback.close()
        await self.http.aclose()


async def _nothing() -> None:
    return


def stage_of(
    predict: Predict,
    models: ModelSpec | list[ModelSpec],
    apps: ApplicationSpec | list[ApplicationSpec] | None = None,
    *,
    links: dict[str, tuple[str, ...]] | None = None,
    **settings: Any,
) -> Stage:
    """A stage; by default application `a` of the model's input type, linked to the first model; current: the first."""
    specs = models if isinstance(models, list) else [models]
    own = apps if isinstance(apps, list) else [apps or app(kind=str(specs[0].input_type) if specs else "doubles")]
    by_name: dict[str, dict[str, ModelSpec]] = {}
    for spec in specs:
        by_name.setdefault(spec.name, {})[spec.version] = spec
    if links is None:
        links = {one.name: (specs[0].name,) for one in own} if specs else {}
    snapshot = RegistrySnapshot(
        apps={one.name: one for one in own},
        models=by_name,
        links={name: Link(app=name, models=names) for name, names in links.items()},
        current={name: next(iter(versions)) for name, versions in by_name.items()},
        whole=True,
    )
    return Stage(snapshot, predict, FrontendSettings(**settings))
