from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skysail.admin.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(first_s=0.5, longest_s=4)
    pauses = []
    for _ in range(5):
        backoff.ended(0.1)
        pauses.append(backoff.pause_s)
    assert pauses == [0.5, 1, 2, 4, 4]


def test_nothing_has_to_be_waited_for_before_the_first_end() -> None:
    assert Backoff().pause_s == 0


def test_a_healthy_run_starts_the_count_anew() -> None:
    backoff = Backoff(first_s=0.5, healthy_s=60)
    backoff.ended(1)
    backoff.ended(59.9)
    assert backoff.pause_s == 1
    backoff.ended(60)
    assert backoff.pause_s == 0.5
    backoff.ended(1)
    assert backoff.pause_s == 1


@given(runs=st.lists(st.floats(0, 1e6), min_size=1))
def test_no_pause_is_shorter_than_the_first_or_longer_than_the_longest(runs: list[float]) -> None:
    backoff = Backoff(first_s=0.2, longest_s=30)
    for ran_s in runs:
        backoff.ended(ran_s)
        assert 0.2 <= backoff.pause_s <= 30
