from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from skysail.topics.ids import Uuid7Generator

SEEDS = st.binary(min_size=10, max_size=10)
#: Until the year 10889, when 48 bits of milliseconds end.
CLOCKS_NS = st.integers(0, (2**48 - 1) * 1_000_000)


@given(SEEDS, CLOCKS_NS)
def test_an_id_is_a_uuid_of_version_7_and_the_rfc_variant(seed: bytes, now_ns: int) -> None:
    text = Uuid7Generator(lambda: now_ns, lambda _: seed)()
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert parsed.int >> 76 & 0xF == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == now_ns // 1_000_000


@given(SEEDS, CLOCKS_NS)
def test_ids_of_one_millisecond_differ_and_keep_their_order_until_the_counter_wraps(seed: bytes, now_ns: int) -> None:
    seed = bytes(2) + seed[2:]  # below the wrap
    new_id = Uuid7Generator(lambda: now_ns, lambda _: seed)
    ids = [new_id() for _ in range(1000)]
    assert all(earlier < later for earlier, later in pairwise(ids))


def test_ids_still_differ_when_the_counter_wraps() -> None:
    new_id = Uuid7Generator(lambda: 0, lambda _: b"\xff" * 10)
    assert len({new_id() for _ in range(1000)}) == 1000


def test_a_later_millisecond_gives_a_greater_id_whatever_the_counter() -> None:
    clock_ns = iter(range(0, 1_000_000_000, 1_000_000))
    new_id = Uuid7Generator(lambda: next(clock_ns), lambda _: b"\xff" * 10)
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(ids)


def test_two_generators_at_the_same_moment_do_not_make_the_same_ids() -> None:
    first, second = Uuid7Generator(lambda: 0), Uuid7Generator(lambda: 0)
    assert {first() for _ in range(1000)}.isdisjoint({second() for _ in range(1000)})


def test_threads_with_generators_of_their_own_make_no_duplicates() -> None:
    def draw(_: int) -> list[str]:
        new_id = Uuid7Generator()
        return [new_id() for _ in range(5000)]

    with ThreadPoolExecutor(4) as pool:
        ids = [each for ids in pool.map(draw, range(8)) for each in ids]
    assert len(set(ids)) == len(ids)
