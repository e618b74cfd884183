"""Runs a batch: read and check each query, predict, and turn the outputs into answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from skysail.topics.errors import BadInputError, DecodeError, ModelError
from skysail.topics.payloads import TENSOR
from skysail.topics.records import Outcome, Reply
from skysail.topics.specs import ModelSpec
from skysail.workers.bisection import predict_bisecting
from skysail.workers.finished import Finished
from skysail.workers.inputs import reader_for
from skysail.workers.keeper import ConsumerKeeper
from skysail.workers.outputs import LARGEST_ANSWER_BYTES, OutputRange, Outputs, joined, outputs_of
from skysail.workers.runtimes import Model
from skysail.workers.work import Work

__all__ = ["Executor"]

_log = structlog.get_logger(__name__)

_LONGEST_CAUSE = 2000


class Executor:
    """Runs batches on one model.

    Args:
        spec: of the version.
        model: loaded.
        keeper: told when predict begins and ends.
        observe: told of each batch that went through in one call: rows and seconds.
    """

    def __init__(
        self, spec: ModelSpec, model: Model, keeper: ConsumerKeeper, observe: Callable[[int, float], None]
    ) -> None:
        self._model = model
        self._keeper = keeper
        self._observe = observe
        self._reader = reader_for(spec)
        self._outputs = spec.outputs
        self._largest = spec.batch.largest
        self._predict_s = 0.0

    def run(self, works: Sequence[Work], finished: Finished) -> None:
        """Give every work its outcome in `finished`."""
        start_ns = time.monotonic_ns()
        self._predict_s = 0.0
        readable = [work for work in works if self._read(work, finished)]
        if readable:
            for group in self._reader.groups(readable):
                self._run_group(group, start_ns, finished)
        finished.predict_us += int(self._predict_s * 1e6)

    def _read(self, work: Work, finished: Finished) -> bool:
        try:
            self._reader.read(work)
            return True
        except DecodeError as error:
            finished.bury(work.record, "undecodable", str(error))
            finished.fail(work, Outcome.BAD_INPUT, str(error))
        except BadInputError as error:
            finished.fail(work, Outcome.BAD_INPUT, str(error))
        return False

    def _run_group(self, works: Sequence[Work], start_ns: int, finished: Finished) -> None:
        finished.rows += sum([work.rows for work in works])
        results = predict_bisecting(
            lambda units: self._predict(works[units[0] : units[-1] + 1]), [work.rows for work in works]
        )
        errors: list[Exception] = []
        for work, result in zip(works, results, strict=True):
            queue_us = (start_ns - work.polled_ns) // 1000
            answer = result if isinstance(result, Exception) else self._answer(work, result, queue_us)
            if isinstance(answer, Exception):
                errors.append(answer)
                finished.fail(work, Outcome.MODEL_ERROR, cause_of(answer), queue_us)
            else:
                finished.answers.append((work, answer))
        if errors:
            _log.warning("predict_failed", queries=len(works), failed=len(errors), exc_info=errors[0])

    def _predict(self, works: Sequence[Work]) -> OutputRange:
        rows = sum([work.rows for work in works])
        batch = self._reader.join(works)
        if rows > self._largest:
            return OutputRange(self._in_parts(batch, rows), 0, rows)
        return OutputRange(self._call(batch, rows), 0, rows)

    def _call(self, batch: Any, rows: int) -> Outputs:
        self._keeper.predict_begins()
        begin = time.perf_counter()
        try:
            result = self._model.predict(batch)
        finally:
            duration_s = time.perf_counter() - begin
            self._predict_s += duration_s
            self._keeper.predict_ends()
        outputs = outputs_of(result, rows, self._outputs)
        self._observe(rows, duration_s)
        return outputs

    def _in_parts(self, batch: Any, rows: int) -> Outputs:
        """A query of more rows than the largest batch is run in several calls."""
        step = self._largest
        parts = [(start, min(start + step, rows)) for start in range(0, rows, step)]
        return joined([self._call(_rows_of(batch, start, stop), stop - start) for start, stop in parts])

    @staticmethod
    def _answer(work: Work, result: OutputRange, queue_us: int) -> Reply | ModelError:
        query = work.query
        value = result.tensors() if query.accept == TENSOR else None
        tensor = value is not None
        try:
            value = result.json() if value is None else value
        except ModelError as error:
            return error
        if len(value) > LARGEST_ANSWER_BYTES:
            return ModelError(f"the answer takes {len(value)} bytes; the most is {LARGEST_ANSWER_BYTES}")
        return Reply(query.id, "ok", value, tensor, queue_us)


def cause_of(error: Exception) -> str:
    """What a caller is told of an error: its type and text, never a traceback."""
    if isinstance(error, ModelError):
        return str(error)
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the model's own exception class may be broken
        text = "(its text could not be made)"
    return f"{type(error).__name__}: {text}"[:_LONGEST_CAUSE]


def _rows_of(batch: Any, start: int, stop: int) -> Any:
    if isinstance(batch, dict):
        return {name: array[start:stop] for name, array in batch.items()}
    return batch[start:stop]
