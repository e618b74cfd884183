"""The life of a worker process: what it is made of, and the order in which it starts and stops."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from enum import IntEnum
from uuid import uuid4

import structlog

from skysail.topics.collector import freeze_and_relax
from skysail.topics.errors import UnavailableError
from skysail.topics.names import KeyNames
from skysail.topics.records import Outcome
from skysail.topics.settings import Settings
from skysail.topics.specs import ModelSpec, WorkerState
from skysail.topics.store.connection import PipelinedStore, sync_store
from skysail.workers.broker_ends import KafkaEnds
from skysail.workers.current import CurrentFollower
from skysail.workers.heartbeat import Heartbeat, HeartbeatWriter
from skysail.workers.journal import BatchJournal
from skysail.workers.loading import artifact_folder, load_model
from skysail.workers.metrics import NO_METRICS, Metrics, WorkerMetrics
from skysail.workers.registration import read_spec
from skysail.workers.runtimes import Model
from skysail.workers.state import StateFolder
from skysail.workers.stats import WorkerStats
from skysail.workers.stopping import Patience, StopRequest
from skysail.workers.suspects import SuspectStore
from skysail.workers.warmup import warm_up
from skysail.workers.wiring import Means, assemble

__all__ = ["ExitStatus", "WorkerProcess"]

_log = structlog.get_logger(__name__)

_MOST_TRACEBACK = 64 * 1024


class ExitStatus(IntEnum):
    """How a worker process ends; 5 (predict timed out) is the keeper's."""

    DRAINED = 0
    ERROR = 1
    USAGE = 2
    NOT_LOADED = 3
    NOT_REGISTERED = 4


class WorkerProcess:
    """One worker, from its settings.

    Args:
        settings: of this process; model and version are set.
        stop: already listening to signals.
        load: makes the model; by default from the version's artifact.
    """

    def __init__(self, settings: Settings, stop: StopRequest, load: Callable[[ModelSpec], Model] | None = None) -> None:
        self._settings = settings
        self._stop = stop
        self._load = load or self._load_artifact
        self._keys = KeyNames(settings.namespace)
        self._worker_id = f"{settings.worker.model}-{settings.worker.version}-{uuid4().hex[:8]}"
        self._store = PipelinedStore(settings.redis.url)
        self._patience = Patience(stop)
        self._stats = WorkerStats()
        self._suspects = SuspectStore(self._store, self._keys, settings.worker.model)

    def run(self) -> ExitStatus:
        """Live until asked to stop.

        Raises:
            NoModelError, ConflictError, OSError: when the worker cannot even begin.
        """
        worker = self._settings.worker
        state = StateFolder(worker.state)
        journal = state.open()
        # Before anything else: while this model loads, another worker may be given the records that ended the last one.
        crashed = self._report_crash(journal)
        spec = read_spec(sync_store(self._settings.redis.url), self._keys, worker.model, worker.version, self._patience)
        beats = self._heartbeat(spec)
        beats.start()
        try:
            model = self._loaded(spec)
            if model is None:
                return ExitStatus.NOT_LOADED
            metrics = self._metrics(crashed)
            beats.beat_now()
            self._serve(spec, model, journal, metrics, beats)
            return ExitStatus.DRAINED
        finally:
            beats.stop()
            self._store.close()
            journal.close()
            state.close()

    def _report_crash(self, journal: BatchJournal) -> int:
        """Count one more crash for each record that the process before this one left running."""
        left_behind = journal.read_left_behind()
        if journal.damage is not None:
            _log.warning("journal_damaged", error=journal.damage)
        if not left_behind:
            return 0
        _log.warning("crashed_before", records=len(left_behind), first=left_behind[0])
        attempt = 0
        while True:
            try:
                self._suspects.note(left_behind, self._settings.worker.version, self._worker_id)
                break
            except UnavailableError as error:
                if attempt == 0:
                    _log.warning("crash_not_reported", error=str(error), action="trying again")
                self._patience.wait(attempt)
                attempt += 1
        journal.clear()
        return len(left_behind)

    def _heartbeat(self, spec: ModelSpec) -> HeartbeatWriter:
        heartbeat = Heartbeat(self._worker_id, spec, self._stats)
        store = PipelinedStore(self._settings.redis.url)
        return HeartbeatWriter(store, self._keys, heartbeat, self._settings.worker.heartbeat_s)

    def _load_artifact(self, spec: ModelSpec) -> Model:
        artifacts = self._settings.artifacts
        return load_model(artifact_folder(artifacts.path, spec), spec, artifacts.key())

    def _loaded(self, spec: ModelSpec) -> Model | None:
        """The model, warm; None when it does not load, which the last heartbeat explains."""
        try:
            model = self._load(spec)
            warm_up(model, spec)
        except (Exception, SystemExit):  # noqa: BLE001 - what the model's code raises is told to whoever deployed it
            text = traceback.format_exc()
            self._stats.error = text[-_MOST_TRACEBACK:]
            self._stats.state = WorkerState.FAILED
            _log.exception("model_not_loaded")
            return None
        freeze_and_relax()
        _log.info("model_loaded")
        return model

    def _metrics(self, crashed: int) -> Metrics:
        worker = self._settings.worker
        if not worker.metrics_port:
            return NO_METRICS
        metrics = WorkerMetrics(worker.model, worker.version, Outcome)
        metrics.crashed.inc(crashed)
        metrics.serve(worker.metrics_port)
        return metrics

    def _serve(
        self, spec: ModelSpec, model: Model, journal: BatchJournal, metrics: Metrics, beats: HeartbeatWriter
    ) -> None:
        def settled() -> None:
            if self._stats.state is WorkerState.LOADING:
                self._stats.state = WorkerState.READY
                _log.info("ready", worker=self._worker_id)
            beats.beat_now()

        means = Means(
            settings=self._settings.worker,
            namespace=self._settings.namespace,
            worker_id=self._worker_id,
            spec=spec,
            model=model,
            broker=KafkaEnds(self._settings.kafka),
            store=self._store,
            journal=journal,
            stats=self._stats,
            metrics=metrics,
            stop=self._stop,
        )
        line = assemble(means, settled)
        follower = CurrentFollower(self._settings.redis.url, self._keys, spec.name, line.subscription.set_current)
        self._stop.hold()
        follower.start()
        line.keeper.start()
        try:
            # 1. Serve until a signal comes; then no record is polled any more, and the batch in hand is finished and
            #    answered. What is queued has not been touched: it is handed back by not being committed.
            line.loop.run()
            self._stats.state = WorkerState.DRAINING
            beats.beat_now()
            # 2. Commit what has been answered, so that nobody computes it again.
            line.committer.commit_now(line.consumer)
        finally:
            # 3. Leave the group, so that others take the partitions over at once and not after the session's time.
            line.keeper.stop()
            line.consumer.close()
            # 4. Let go of the rest. The caller removes the heartbeat last: until then the worker can be seen draining.
            follower.stop()
            line.publisher.close()
            model.close()
        _log.info("drained")
