"""Puts a worker's parts together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from skysail.topics.broker import RecordConsumer
from skysail.topics.names import KeyNames, TopicNames
from skysail.topics.settings import WorkerSettings
from skysail.topics.specs import ModelSpec
from skysail.workers.assignment import Assignment
from skysail.workers.batching import BatchSizer, BatchWait, make_batch_sizer
from skysail.workers.broker_ends import BrokerEnds
from skysail.workers.commits import Committer
from skysail.workers.delivery import Delivery, Store
from skysail.workers.execution import Executor
from skysail.workers.intake import Intake
from skysail.workers.journal import BatchJournal
from skysail.workers.keeper import ConsumerKeeper
from skysail.workers.loop import WorkerLoop
from skysail.workers.metrics import Metrics
from skysail.workers.offsets import OffsetTracker
from skysail.workers.outcomes import OutcomeWriter
from skysail.workers.pacing import Pacing
from skysail.workers.paired import PairedConsumer
from skysail.workers.publishing import Publisher
from skysail.workers.recording import Recorder
from skysail.workers.runner import BatchRunner
from skysail.workers.runtimes import Model
from skysail.workers.stats import WorkerStats
from skysail.workers.stopping import Patience, StopRequest
from skysail.workers.subscription import Subscription
from skysail.workers.suspects import SuspectStore
from skysail.workers.suspicion import Suspicion

__all__ = ["Line", "Means", "assemble"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Means:
    """What a worker is made from.

    Attributes:
        settings: of the worker.
        namespace: which deployment on broker and store.
        worker_id: unique to the process.
        spec: of the version that is served.
        model: loaded and warm.
        broker: makes the ends to the broker.
        store: owned by the loop's thread.
        journal: open.
        stats, metrics: told what happens.
        stop: whether to stop.
    """

    settings: WorkerSettings
    namespace: str
    worker_id: str
    spec: ModelSpec
    model: Model
    broker: BrokerEnds
    store: Store
    journal: BatchJournal
    stats: WorkerStats
    metrics: Metrics
    stop: StopRequest


@dataclass(frozen=True)
class Line:
    """The parts that must be started, told or stopped."""

    loop: WorkerLoop
    subscription: Subscription
    consumer: RecordConsumer
    committer: Committer
    keeper: ConsumerKeeper
    publisher: Publisher


def assemble(means: Means, on_settled: Callable[[], None]) -> Line:
    """Make the loop and all that it needs. Nothing is connected yet.

    Args:
        means: what there is.
        on_settled: called after each assignment.
    """
    spec, settings, stats = means.spec, means.settings, means.stats
    keys, topics = KeyNames(means.namespace), TopicNames(means.namespace)
    patience = Patience(means.stop)
    tracker = OffsetTracker()
    committer = Committer(tracker, settings.commit_interval_ms / 1000)
    intake = Intake(tracker, settings.crash_limit)
    subscription = Subscription(topics, spec)
    suspicion = Suspicion(SuspectStore(means.store, keys, spec.name), intake, patience)

    def follow(on_assigned: Callable[[], None]) -> Assignment:
        return Assignment(
            subscription.version_topic,
            intake,
            committer,
            stats,
            on_gained=suspicion.raise_doubt,
            on_settled=on_assigned,
        )

    # A worker is ready when the group of its version's topic has settled, whatever becomes of the model's topic.
    own, shared = follow(on_settled), follow(lambda: None)
    consumer = own.consumer = shared.consumer = PairedConsumer(
        means.broker.consumer(topics.version_group(spec.name, spec.version), own, committer.failed),
        topics.model(spec.name),
        lambda: means.broker.consumer(topics.model_group(spec.name), shared, committer.failed),
    )
    keeper = ConsumerKeeper(consumer.keep_alive, predict_timeout_s=spec.predict_timeout_s)
    publisher = Publisher(means.broker.producer, patience)
    pacing = Pacing(intake, _sizer(spec), BatchWait(spec.batch.wait_ms))
    stats.batch_cap = pacing.cap
    writer = OutcomeWriter(
        keys, model=spec.name, version=spec.version, worker_id=means.worker_id, job_ttl_s=settings.job_ttl_s
    )
    runner = BatchRunner(
        journal=means.journal,
        keeper=keeper,
        executor=Executor(spec, means.model, keeper, pacing.observe),
        delivery=Delivery(writer, means.store, publisher, patience, means.broker.make_topic),
        intake=intake,
        committer=committer,
        pacing=pacing,
        recorder=Recorder(stats, means.metrics),
    )
    loop = WorkerLoop(
        consumer=consumer,
        subscription=subscription,
        intake=intake,
        suspicion=suspicion,
        pacing=pacing,
        runner=runner,
        committer=committer,
        stop=means.stop,
    )
    return Line(loop, subscription, consumer, committer, keeper, publisher)


def _sizer(spec: ModelSpec) -> BatchSizer:
    batch = spec.batch
    fixed_rows = batch.largest if batch.policy == "fixed" else None
    return make_batch_sizer(batch.policy, spec.objective_ms / 1000, max_rows=batch.largest, fixed_rows=fixed_rows)
