from __future__ import annotations

from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from skysail.topics.payloads import JSON, TENSOR
from skysail.topics.records import Query
from skysail.topics.store.cache import CachedAnswer, LocalCache, cache_digest, cache_store_command

OVERHEAD_BYTES = 200
KEYS = st.integers(0, 9)


class LocalCacheLaws(RuleBasedStateMachine):
    """The cache beside a model that is slow and plain."""

    cache: LocalCache[int]

    @initialize(entries=st.integers(0, 5), size=st.integers(0, 1500))
    def begin(self, entries: int, size: int) -> None:
        self.now = 1000.0
        self.entries, self.size = entries, size
        self.cache = LocalCache(entries, size, lambda: self.now)
        self.model: OrderedDict[int, tuple[CachedAnswer, float]] = OrderedDict()

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=KEYS, value=st.binary(max_size=300), tensor=st.booleans(), ttl_s=st.integers(-1, 10))
    def put(self, key: int, value: bytes, ttl_s: int, *, tensor: bool) -> None:
        self.cache.put(key, (value, tensor), ttl_s)
        if len(value) + OVERHEAD_BYTES > self.size or not self.entries or ttl_s <= 0:
            return
        self.model[key] = ((value, tensor), self.now + ttl_s)
        self.model.move_to_end(key)
        while len(self.model) > self.entries or self.model_bytes() > self.size:
            self.model.popitem(last=False)

    @rule(key=KEYS)
    def get(self, key: int) -> None:
        entry = self.model.get(key)
        if entry is not None and entry[1] <= self.now:
            del self.model[key]
            entry = None
        if entry is not None:
            self.model.move_to_end(key)
        assert self.cache.get(key) == (None if entry is None else entry[0])

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.model.clear()

    def model_bytes(self) -> int:
        return sum(len(answer[0]) + OVERHEAD_BYTES for answer, _ in self.model.values())

    @invariant()
    def bounds_hold_and_counts_agree(self) -> None:
        assert len(self.cache) == len(self.model) <= self.entries
        assert self.cache.bytes_used == self.model_bytes() <= self.size


TestLocalCacheLaws = LocalCacheLaws.TestCase


def test_the_least_recently_used_answer_goes_first() -> None:
    cache: LocalCache[str] = LocalCache(2, 10_000)
    cache.put("a", (b"1", False), 60)
    cache.put("b", (b"2", False), 60)
    assert cache.get("a") is not None
    cache.put("c", (b"3", False), 60)
    assert [cache.get(key) is not None for key in "abc"] == [True, False, True]


def test_an_answer_is_gone_when_its_time_is_over() -> None:
    now = 0.0
    cache: LocalCache[str] = LocalCache(2, 10_000, lambda: now)
    cache.put("a", (b"1", False), 5)
    now = 4.999
    assert cache.get("a") == (b"1", False)
    now = 5.0
    assert cache.get("a") is None
    assert (len(cache), cache.bytes_used) == (0, 0)


# Which queries share an answer.

QUERIES = st.builds(
    Query,
    id=st.text(max_size=5),
    payload=st.sampled_from([b"", b"[1]", b"[[1]]", b"1"]) | st.binary(max_size=8),
    content_type=st.sampled_from([JSON, TENSOR]),
    rows=st.none() | st.integers(1, 3),
    reply_to=st.none() | st.just("redis:c"),
    deadline_ms=st.none() | st.integers(0, 9),
    accept=st.sampled_from([JSON, TENSOR]),
    cache_ttl_s=st.integers(0, 9),
)


@given(QUERIES, QUERIES)
def test_queries_share_an_answer_only_when_the_model_could_not_tell_them_apart(one: Query, other: Query) -> None:
    same = (one.payload, one.content_type, one.accept, one.rows is None) == (
        other.payload,
        other.content_type,
        other.accept,
        other.rows is None,
    )
    assert (cache_digest(one) == cache_digest(other)) == same


def test_a_digest_has_128_bits() -> None:
    assert len(cache_digest(Query("q", b""))) == 16


@pytest.mark.parametrize(("tensor", "mark"), [(False, b"j"), (True, b"t")])
def test_a_worker_stores_an_answer_with_its_kind_and_its_time_to_live(mark: bytes, *, tensor: bool) -> None:
    query = Query("q", b"[1]", cache_ttl_s=60)
    command = cache_store_command("skysail:d:cache:m:1:", query, (b"[2]", tensor))
    assert command == ("SET", "skysail:d:cache:m:1:" + cache_digest(query).hex(), mark + b"[2]", "EX", 60)
