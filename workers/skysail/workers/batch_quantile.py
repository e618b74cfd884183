"""Batch sizing by a line fitted to the latency of late batches, at a high quantile."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from skysail.workers.batch_aimd import DEFAULT_MAX_ROWS, NEARLY_FULL, QUICK, AimdBatchSizer
from skysail.workers.ranges import at_least, check_batch, share

__all__ = ["LatencyWindow", "QuantileBatchSizer", "median_line"]


class QuantileBatchSizer:
    """Learns a line, duration = alpha * rows + beta at a high quantile, and sends what fits under the objective.

    Clipper's second strategy (NSDI'17, section 4.3) is a quantile regression over the first 1000 batches, then fixed.
    Here the line follows a window of late batches (see `LatencyWindow`). An `AimdBatchSizer` explores until
    ``min_samples`` batches were seen. It takes over again, and the samples are dropped, after three misses in a row, or
    after eight full batches in a row in less than half the time of the line: the model's speed has changed.

    A refit comes once in ``refit_every`` batches and takes a fraction of a millisecond. (Clipper refitted after each
    batch, and its users saw a core burnt.) Where stalls are more frequent than 1 - quantile, the cap pays for them;
    AIMD does not.

    Args:
        objective_s: seconds that a batch may take at the quantile (> 0).
        quantile: share of batches to keep within the objective, above 0 and below 1.
        max_rows: the cap never goes above this (>= 1).
        start: the first cap, from 1 to ``max_rows``.
        window: batches remembered (>= ``min_samples``).
        min_samples: batches seen before the line is trusted (>= 8).
        refit_every: batches from one refit to the next (>= 1).
    """

    def __init__(
        self,
        objective_s: float,
        quantile: float = 0.99,
        *,
        max_rows: int = DEFAULT_MAX_ROWS,
        start: int = 1,
        window: int = 512,
        min_samples: int = 64,
        refit_every: int = 32,
    ) -> None:
        self._explorer: AimdBatchSizer | None = AimdBatchSizer(objective_s, max_rows=max_rows, start=start)
        self._objective_s = objective_s
        self._max_rows = max_rows
        self._quantile = share("quantile", quantile)
        self._min_samples = at_least("min_samples", min_samples, 8)
        self._refit_every = at_least("refit_every", refit_every, 1)
        self._window = LatencyWindow(at_least("window", window, min_samples))
        self._cap = start
        self._misses = 0  # in a row
        self._quick = 0  # full batches in a row in less than half the time of the line

    @property
    def cap(self) -> int:
        """Rows (>= 1) that the next batch may hold at most."""
        return self._cap if self._explorer is None else self._explorer.cap

    @property
    def line(self) -> tuple[float, float] | None:
        """(alpha in seconds a row, beta in seconds) of the median line, or None while exploring."""
        return self._window.line

    def observe(self, rows: int, duration_s: float, *, left_waiting: bool = False) -> None:
        """Takes in a finished batch; see `BatchSizer.observe`."""
        check_batch(rows, duration_s)
        self._window.add(rows, duration_s)
        if self._explorer is not None:
            self._explorer.observe(rows, duration_s, left_waiting=left_waiting)
            if self._window.seen >= self._min_samples:
                self._refit()
        elif self._has_changed(rows, duration_s):
            self._explore_again(rows, duration_s)
        elif self._window.seen % self._refit_every == 0:
            self._refit()

    def _has_changed(self, rows: int, duration_s: float) -> bool:
        alpha, beta = self._window.line or (0.0, 0.0)
        self._misses = self._misses + 1 if duration_s >= self._objective_s else 0
        if rows >= NEARLY_FULL * self._cap:
            self._quick = self._quick + 1 if duration_s < QUICK * (alpha * rows + beta) else 0
        return self._misses >= 3 or self._quick >= 8

    def _explore_again(self, rows: int, duration_s: float) -> None:
        self._explorer = AimdBatchSizer(self._objective_s, max_rows=self._max_rows, start=self._cap)
        for _ in range(self._misses):
            self._explorer.observe(rows, duration_s)
        self._window.forget()
        self._misses = self._quick = 0

    def _refit(self) -> None:
        reach = self._window.rows_within(self._objective_s, self._quantile)
        self._cap = max(1, int(min(reach, self._max_rows)))
        self._explorer = None


class LatencyWindow:
    """The latest batches, and the line through them: duration = alpha * rows + beta.

    The model is the location-scale one (Koenker, *Quantile Regression*, 2005, section 3.2.3), which suits latencies,
    whose spread grows with their mean: a median line, times a quantile of duration / line. A direct quantile regression
    at 0.99 would rest on the few slowest batches alone.

    Args:
        size: batches remembered (>= 1); older ones are overwritten.
    """

    def __init__(self, size: int) -> None:
        self._rows = np.zeros(size)
        self._seconds = np.zeros(size)
        self._seen = 0
        self.line: tuple[float, float] | None = None

    @property
    def seen(self) -> int:
        """Batches added since the start or the last `forget`."""
        return self._seen

    def add(self, rows: int, duration_s: float) -> None:
        """Remembers a batch of ``rows`` rows that took ``duration_s`` seconds."""
        at = self._seen % len(self._rows)
        self._rows[at] = rows
        self._seconds[at] = duration_s
        self._seen += 1

    def forget(self) -> None:
        """Drops all batches and the line: the model's speed has changed."""
        self._seen = 0
        self.line = None

    def rows_within(self, objective_s: float, quantile: float) -> float:
        """Refits the line and gives the rows that take ``objective_s`` seconds at the quantile.

        Where the sizes in the window are too much alike to show a slope, as under steady full load, the line keeps its
        shape and only its height is learned. At most twice the largest size seen: beyond, the line is a guess.
        """
        count = min(self._seen, len(self._rows))
        rows, seconds = self._rows[:count], self._seconds[:count]
        shows_slope = rows.max() >= 2 * rows.min() and rows.std() >= 0.05 * rows.mean()
        if self.line is None or shows_slope:
            self.line = median_line(rows, seconds)
        alpha, beta = self.line
        # "lower": interpolating towards the largest would let a single stall among 64 set the 0.99 quantile.
        ratio = np.quantile(seconds / np.maximum(alpha * rows + beta, 1e-12), quantile, method="lower")
        reach = (objective_s / float(ratio) - beta) / alpha if alpha > 0 and ratio > 0 else math.inf
        return min(reach, 2 * float(rows.max()))


def median_line(rows: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64]) -> tuple[float, float]:
    """(alpha, beta), both >= 0, with about the least sum of |seconds - line| / seconds.

    Least absolute deviations by iteratively reweighted least squares (Schlossmacher, JASA 68, 1973). Relative
    deviations, so that large batches do not outvote small ones on beta. Ten rounds end within the noise of the samples.
    """
    scale = 1 / np.maximum(seconds, 1e-9)
    weight = scale * scale
    alpha = beta = 0.0
    for _ in range(10):
        total = weight.sum()
        mean_rows, mean_seconds = (weight * rows).sum() / total, (weight * seconds).sum() / total
        spread = (weight * (rows - mean_rows) ** 2).sum()
        if spread <= 0:
            break
        alpha = float((weight * (rows - mean_rows) * (seconds - mean_seconds)).sum() / spread)
        beta = float(mean_seconds - alpha * mean_rows)
        off = np.abs(seconds - alpha * rows - beta) * scale
        weight = scale * scale / np.maximum(off, 1e-4)
    if alpha <= 0:
        return 0.0, float(np.median(seconds))
    if beta < 0:
        return float(np.median(seconds / rows)), 0.0
    return alpha, beta
