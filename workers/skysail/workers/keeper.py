"""Keeps the group member alive while the loop's thread is away in predict or waits for the store.

One thread at a time owns the consumer, and the lock says which: the loop lends it before it runs a batch and takes it
back before it touches the consumer again. Only when that takes long does the keeper's thread take it.
"""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Callable

import structlog

__all__ = ["EXIT_PREDICT_TIMEOUT", "ConsumerKeeper"]

_log = structlog.get_logger(__name__)

EXIT_PREDICT_TIMEOUT = 5
#: Beyond the limit on predict: how long the process may hold the interpreter's lock before it is ended.
_GRACE_S = 5.0


class ConsumerKeeper:
    """Calls `keep_alive` while the consumer is lent for longer than `after_s`.

    Args:
        keep_alive: stays a member of the group and serves rebalances; called on the keeper's thread, under the lock.
        after_s: how long the loop may be away before the keeper steps in (well below ``max.poll.interval.ms``).
        predict_timeout_s: a predict that runs longer ends the process (0: never); what was running is in the journal.
        end_process: called with the exit status then.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        keep_alive: Callable[[], None],
        *,
        after_s: float = 1.0,
        predict_timeout_s: float = 0.0,
        end_process: Callable[[int], None] = os._exit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keep_alive = keep_alive
        self._after_s = after_s
        self._predict_timeout_s = predict_timeout_s
        self._end_process = end_process
        self._clock = clock
        self._tick_s = min(after_s, predict_timeout_s or after_s) / 2
        self._lock = threading.Lock()
        self._lent_at: float | None = None
        self._predict_at: float | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="consumer keeper", daemon=True)

    def start(self) -> None:
        """Begin; the calling thread owns the consumer."""
        self._lock.acquire()
        self._thread.start()

    def lend(self) -> None:
        """The owner gives the consumer out of its hands."""
        self._lent_at = self._clock()
        self._lock.release()

    def reclaim(self) -> None:
        """The owner takes the consumer back; waits for a `keep_alive` that is going on."""
        self._lock.acquire()
        self._lent_at = None

    def predict_begins(self) -> None:
        """From now on the limit on predict counts."""
        self._predict_at = self._clock()

    def predict_ends(self) -> None:
        """The limit on predict counts no more."""
        self._predict_at = None

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._tick_s):
            self._guard_predict()
            if self._is_long_lent():
                self._serve()
        self._cancel_watch()

    def _cancel_watch(self) -> None:
        if self._predict_timeout_s:
            faulthandler.cancel_dump_traceback_later()

    def _is_long_lent(self) -> bool:
        lent_at = self._lent_at
        return lent_at is not None and self._clock() - lent_at >= self._after_s

    def _serve(self) -> None:
        if not self._lock.acquire(timeout=self._tick_s):
            return
        try:
            if self._is_long_lent():
                self._keep_alive()
        except Exception:  # noqa: BLE001 - the batch goes on; what is wrong with the consumer shows at its next poll
            _log.exception("keep_alive_failed")
        finally:
            self._lock.release()

    def _guard_predict(self) -> None:
        if not self._predict_timeout_s:
            return
        # Code that never lets go of the interpreter's lock would stop this thread as well: a C thread watches over it.
        faulthandler.dump_traceback_later(self._predict_timeout_s + self._tick_s + _GRACE_S, exit=True)
        predict_at = self._predict_at
        if predict_at is not None and self._clock() - predict_at > self._predict_timeout_s:
            _log.error("predict_timed_out", limit_s=self._predict_timeout_s, action="the process ends")
            faulthandler.dump_traceback(all_threads=True)
            self._end_process(EXIT_PREDICT_TIMEOUT)
