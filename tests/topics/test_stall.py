from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skysail.topics.kafka.stall import StallWatch

STEP_S = 0.1


def looks(watch: StallWatch, *counts: tuple[int, int], start_s: float = 100.0) -> list[bool]:
    """What the watch says of (sent, waiting), looked at every tenth of a second."""
    return [watch.is_stalled(sent, waiting, start_s + number * STEP_S) for number, (sent, waiting) in enumerate(counts)]


#: Told at the first look after the limit, and again after another.
ONCE_EACH_LIMIT = ([False] * 5 + [True]) + ([False] * 4 + [True])


def test_records_that_wait_while_none_is_settled_are_a_stall_once_the_limit_has_passed() -> None:
    assert looks(StallWatch(limit_s=0.45, gap_s=0.3), *[(3, 3)] * 11) == ONCE_EACH_LIMIT


def test_more_records_that_are_sent_do_not_hide_a_stall() -> None:
    counts = [(sent, sent) for sent in range(1, 12)]
    assert looks(StallWatch(limit_s=0.45, gap_s=0.3), *counts) == ONCE_EACH_LIMIT


@given(st.lists(st.integers(0, 5), min_size=1, max_size=50))
def test_while_records_are_settled_there_is_no_stall(settled: list[int]) -> None:
    watch = StallWatch(limit_s=0.45, gap_s=0.3)
    counts, done = [], 0
    for number in settled:
        done += number + 1
        counts.append((done + 7, 7))
    assert not any(looks(watch, *counts))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=50))
def test_without_records_that_wait_there_is_no_stall(sent: list[int]) -> None:
    assert not any(looks(StallWatch(limit_s=0.45, gap_s=0.3), *[(number, 0) for number in sent]))


def test_a_watch_that_was_not_looked_at_for_long_begins_anew() -> None:
    watch = StallWatch(limit_s=0.45, gap_s=0.3)
    looks(watch, *[(1, 1)] * 4)
    assert not watch.is_stalled(1, 1, 500.0)
    assert looks(watch, *[(1, 1)] * 5, start_s=500.1) == [False] * 4 + [True]
