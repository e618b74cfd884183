"""Batch sizing by additive increase and multiplicative decrease: the default, which assumes nothing of the model."""

from __future__ import annotations

import math

from skysail.workers.ranges import above_zero, at_least, check_batch, share

__all__ = ["DEFAULT_MAX_ROWS", "NEARLY_FULL", "QUICK", "AimdBatchSizer"]

#: Rows that no learned cap goes above.
DEFAULT_MAX_ROWS = 4096
#: A batch of at least this share of the cap says something about the cap.
NEARLY_FULL = 0.9
#: Slow start and gross cuts head for this share of the objective. At 0.95, the middle of NSDI's dead band, a model
#: whose fixed cost is 0.7 of the objective would be left at 5/6 of its best size; here it comes to 9/10.
_AIM = 0.97
#: Under this share of the objective, twice the rows fit as well.
QUICK = 0.5
#: One quick batch may be luck (every row cached by the model); so many in a row are not.
_REFUTE_AFTER = 2
#: A miss within so many batches of the last doubles how many batches in a row refute it; so many in time halve that.
_CALM = 100
#: No batch cuts the cap by more than this: a stall is not the model's speed.
_LARGEST_CUT = 0.5
#: Full batches within the objective before a size that has missed is tried again. A probe may miss, so this keeps
#: misses below one batch in a hundred, which is what a p99 takes, with room for as many by chance.
_PATIENCE = 200


class AimdBatchSizer:
    """Additive increase, multiplicative decrease of the cap, by the latency of batches that were really full.

    The rule is that of Clipper's research code (Crankshaw et al., NSDI'17, section 4.3; `batching.rs`): ``increase``
    rows more after a batch below the dead band (0.9 to 1.0 of the objective), nothing within it, times ``decrease`` on
    a miss. What differs, and why; "load" is a duration as a share of the objective:

    - Clipper's state is the size last sent, so light load pulls it down. Here only a (nearly) full batch moves the cap.
      A smaller one is believed on a miss alone, which pulls the cap below its size: more rows would not be faster.
    - Slow start: at first, and again after two full batches in a row at a load below 0.5, the cap at most doubles,
      towards where the line through the last two batches meets 0.97. By +2 a batch, a best size of 1000 is 500 batches
      away. Economies of scale bound the line: x times the rows take at most x times as long.
    - Misses in a row cut by that line as well, at most to half; after a slow-down by three, 0.9 would need a dozen
      misses. The first of a row costs 10 %, for it may be a stall.
    - The smallest size that missed is not sent again before 200 full batches have fitted (a ceiling, as TCP's
      ssthresh). Without it the cap of a model that takes 3 rows in time but not 4 swings for ever, half its batches
      late. Two full batches in a row refute the miss sooner where economies of scale say from them that the size would
      end below the dead band. The miss of a batch that was not full is refuted by any two below the dead band, unless
      two missed one after the other, and the cap from before comes back at once: under light load a miss is mostly a
      stall, and a cap that stays at the size of a small batch is overrun by the next burst. Misses less than 100
      batches apart double how many it takes, or a model whose latency jumps at some size would be run into the jump
      again and again.
    - Below such a ceiling the cap rises through the dead band too: those sizes have fitted before. And after 200 full
      batches without a miss the cap rises by the headroom that the slowest of them left.
    - The rise is 1 % of the cap where that is more than ``increase``.

    Args:
        objective_s: seconds that a batch may take (> 0).
        max_rows: the cap never goes above this (>= 1).
        start: the first cap, from 1 to ``max_rows``.
        increase: rows added after a full batch below the dead band (>= 1).
        decrease: factor on a miss, above 0 and below 1.
        dead_band: the load from which the cap is held, above 0, at most 1 (no dead band).
    """

    def __init__(
        self,
        objective_s: float,
        *,
        max_rows: int = DEFAULT_MAX_ROWS,
        start: int = 1,
        increase: int = 2,
        decrease: float = 0.9,
        dead_band: float = 0.9,
    ) -> None:
        self._objective_s = above_zero("objective_s", objective_s)
        self._max_rows = at_least("max_rows", max_rows, 1)
        self._cap = at_least("start", start, 1)
        self._increase = at_least("increase", increase, 1)
        self._decrease = share("decrease", decrease)
        self._dead_band = share("dead_band", dead_band, one_allowed=True)
        if start > max_rows:
            msg = f"start must be at most max_rows, {max_rows}; it is {start}"
            raise ValueError(msg)
        self._climbing = True  # in slow start
        self._last = (0, 0.0)  # rows and load of the batch judged last
        self._misses = 0  # in a row
        self._missed: float = math.inf  # the smallest size that missed and has not been refuted
        self._fitted = 0  # full batches since the last miss or probe
        self._peak = 0.0  # the largest load among those
        self._doubts = 0  # full batches in a row that speak against the miss, or for slow start
        self._refute_after = _REFUTE_AFTER  # how many settle it
        self._in_time = _CALM  # batches of any size since the last miss
        self._before_pull = 0  # the cap before a small batch's miss pulled it down

    @property
    def cap(self) -> int:
        """Rows (>= 1) that the next batch may hold at most."""
        return self._cap

    def observe(self, rows: int, duration_s: float, *, left_waiting: bool = False) -> None:
        """Takes in a finished batch; see `BatchSizer.observe`."""
        check_batch(rows, duration_s)
        load = duration_s / self._objective_s
        if rows > self._cap:
            # Sent under an older, larger cap. Its share for `cap` rows is the least that those would have taken.
            if 1 <= load < rows / self._cap:
                return
            if load >= 1:
                rows, load = self._cap, load * self._cap / rows
        full = left_waiting or rows >= NEARLY_FULL * self._cap
        if load >= 1:
            self._miss(rows, load, full=full)
            return
        self._in_time += 1
        if self._in_time % _CALM == 0:
            self._refute_after = max(_REFUTE_AFTER, self._refute_after // 2)
        if full:
            self._fit(rows, load)

    def _miss(self, rows: int, load: float, *, full: bool) -> None:
        keep = self._decrease
        if self._misses:
            keep = max(_LARGEST_CUT, min(keep, self._reach(rows, load) / rows))
        elif self._in_time < _CALM:
            self._refute_after = min(2 * self._refute_after, _PATIENCE)
        if self._in_time == 0:
            self._before_pull = 0  # the second miss of two with nothing in time between them is no stall
        elif not full:
            self._before_pull = max(self._before_pull, self._cap)
        self._misses += 1
        self._missed = min(self._missed, rows)
        self._climbing = False
        self._in_time = self._fitted = self._doubts = 0
        self._peak = 0.0
        self._last = (rows, load)
        self._cap = max(1, int(rows * keep))

    def _fit(self, rows: int, load: float) -> None:
        self._misses = 0
        self._fitted += 1
        self._peak = max(self._peak, load)
        self._refute_miss(rows, load)
        probe = self._fitted >= _PATIENCE
        target = min(self._target(rows, load, probe=probe), self._max_rows, self._missed if probe else self._missed - 1)
        if probe:
            self._fitted, self._peak = 0, 0.0
        self._last = (rows, load)
        self._cap = max(self._cap, int(target))

    def _refute_miss(self, rows: int, load: float) -> None:
        """Lifts the ceiling where full batches show that it no longer holds, or never did."""
        # By economies of scale, the size that missed would now take at most load * missed / rows.
        refutes = load < self._dead_band and (self._before_pull > 0 or load * self._missed < self._dead_band * rows)
        self._doubts = self._doubts + 1 if refutes or load < QUICK else 0
        if self._doubts >= self._refute_after:
            self._climbing = self._climbing or load < QUICK
            if refutes:
                self._missed = math.inf
                self._cap = max(self._cap, self._before_pull)
                self._before_pull = 0
        if rows >= self._missed:
            self._missed = math.inf
        if load >= self._dead_band:
            self._before_pull = 0

    def _target(self, rows: int, load: float, *, probe: bool) -> float:
        """The cap to go to after a full batch that fitted, before the ceiling."""
        self._climbing = self._climbing and load < _AIM
        step = max(self._increase, self._cap // 100)
        if self._climbing:
            return max(self._cap + step, min(self._reach(rows, load), 2 * rows))
        if load < self._dead_band or self._missed < math.inf:
            return self._cap + step
        if probe:
            return max(self._cap + 1, self._cap / self._peak)
        return self._cap

    def _reach(self, rows: int, load: float) -> float:
        """Rows at which the line through the last two judged batches meets the aim."""
        last_rows, last_load = self._last
        ray = _AIM * rows / load if load > 0 else math.inf
        if rows == last_rows:
            return ray
        slope = (load - last_load) / (rows - last_rows)
        if load >= _AIM:
            return min(ray, rows - (load - _AIM) / slope) if slope > 0 else ray
        return max(ray, rows + (_AIM - load) / slope) if slope > 0 else math.inf
