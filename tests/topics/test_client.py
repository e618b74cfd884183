"""`PredictionClient` on the in-memory broker and a real store, with a worker played by hand."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, Self

import pytest

from skysail.topics.client import ClientOptions, PredictionClient, Target, outputs_of
from skysail.topics.errors import (
    BadInputError,
    ConflictError,
    ExpiredError,
    ModelError,
    NoModelError,
    PayloadTooLargeError,
    RejectedError,
    SkysailError,
    UnavailableError,
)
from skysail.topics.memory import MemoryBroker
from skysail.topics.names import KeyNames, TopicNames
from skysail.topics.payloads import TENSOR, encode_tensors
from skysail.topics.pending import Answer
from skysail.topics.specs import ModelSpec
from skysail.topics.store.cache import cache_digest, cache_store_command
from skysail.topics.store.connection import async_store
from skysail.topics.store.registry import Registry
from tests.services import Redis
from tests.services.factory import Factory
from tests.topics.hand_worker import HandWorker
from tests.waiting import wait_until_async

SPEC = ModelSpec(name="m", version="1", partitions=4)
LONG_MS = 30_000


class Stage:
    """A broker with the model's topics, a registry with the model, clients, and the worker."""

    def __init__(self, url: str, namespace: str) -> None:
        self.url = url
        self.namespace = namespace
        self.broker = MemoryBroker()
        self.topic = TopicNames(namespace).version("m", "1")
        self.stack = AsyncExitStack()
        self.client: PredictionClient
        self.target: Target
        self.worker: HandWorker
        self.registry: Registry

    async def __aenter__(self) -> Self:
        self.broker.create_topic(self.topic, 4)
        store = await self.stack.enter_async_context(async_store(self.url))
        self.registry = Registry(store, KeyNames(self.namespace))
        await self.registry.create_model(SPEC)
        await self.registry.set_current("m", "1")
        self.worker = HandWorker(self.broker, self.url, self.namespace, self.topic)
        self.stack.callback(self.worker.close)
        self.client = await self.new_client()
        self.target = self.client.target("m")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    async def new_client(self, **options: Any) -> PredictionClient:
        client = PredictionClient(self.broker.producer, self.url, self.namespace, ClientOptions(**options))
        await client.start()
        self.stack.push_async_callback(client.close)
        return client

    def ask(
        self, payload: bytes = b"[1]", timeout_ms: int = LONG_MS, client: PredictionClient | None = None, **more: Any
    ) -> asyncio.Task[Answer]:
        asked = client or self.client
        return asyncio.create_task(asked.ask(asked.target("m"), payload, timeout_ms=timeout_ms, **more))


@pytest.fixture
async def stage(redis_server: Redis, namespace: str) -> AsyncIterator[Stage]:
    async with Stage(redis_server.url, namespace) as stage:
        yield stage


async def within(limit_s: float, awaited: Any) -> Any:
    return await asyncio.wait_for(awaited, limit_s)


# Asking and answering.


async def test_a_query_says_all_that_a_worker_needs(stage: Stage) -> None:
    before_ms = time.time_ns() // 1_000_000
    payload = encode_tensors({})
    asked = stage.ask(
        payload, 5000, content_type=TENSOR, rows=3, accept=TENSOR, cache_ttl_s=9, traceparent="00-t-s-01", query_id="q"
    )
    (query,) = await stage.worker.take(1)
    assert (query.id, query.payload, query.content_type, query.rows) == ("q", payload, TENSOR, 3)
    assert (query.accept, query.cache_ttl_s, query.traceparent) == (TENSOR, 9, "00-t-s-01")
    assert query.reply_to == f"redis:{stage.client.client_id}"
    assert query.deadline_ms is not None
    assert 5000 <= query.deadline_ms - before_ms < 8000
    stage.worker.answer(query)
    await within(10, asked)


async def test_an_answer_tells_what_the_worker_told(stage: Stage) -> None:
    asked = stage.ask(b"[[1.5]]")
    stage.worker.answer(*await stage.worker.take(1))
    answer = await within(10, asked)
    assert (answer.outcome, answer.value, answer.version, answer.source) == ("ok", b"[[1.5]]", "1", "model")
    assert (answer.queue_us, answer.predict_us, answer.batch_rows) == (3, 7, 1)
    assert stage.client.in_flight == 0


async def test_each_query_gets_its_own_answer_whatever_their_order(stage: Stage) -> None:
    asked = [stage.ask(b"[%d]" % number) for number in range(500)]
    queries = await stage.worker.take(500)
    assert len({query.id for query in queries}) == 500
    stage.worker.answer(*queries[250:])
    stage.worker.answer(*reversed(queries[:250]))
    answers = await within(20, asyncio.gather(*asked))
    assert [answer.value for answer in answers] == [b"[%d]" % number for number in range(500)]


# When queries leave.


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_few_queries_leave_at_once_and_more_are_gathered_while_those_are_out(stage: Stage) -> None:
    client = await stage.new_client(send_at_once=2, hold_s=1000)
    asked = [stage.ask(b"[1]", client=client), stage.ask(b"[2]", client=client)]
    await turns(1)
    assert len(stage.worker.look()) == 2
    asked.append(stage.ask(b"[3]", client=client))
    await turns()
    assert len(stage.worker.look()) == 2
    for one in asked:
        one.cancel()


async def test_what_is_gathered_while_nothing_is_out_leaves_with_the_turn_of_the_loop(stage: Stage) -> None:
    client = await stage.new_client(send_at_once=0, hold_s=1000)
    asked = [stage.ask(b"[%d]" % number, client=client) for number in range(50)]
    await turns()
    assert len(stage.worker.look()) == 50
    stage.worker.answer(*stage.worker.taken)
    await within(10, asyncio.gather(*asked))


async def test_a_query_that_was_given_up_before_it_left_does_not_leave(stage: Stage) -> None:
    client = await stage.new_client(send_at_once=1, hold_s=0.2)
    first = stage.ask(b"[1]", client=client)
    await turns(1)
    second = stage.ask(b"[2]", 20, client=client)
    assert (await within(10, second)).outcome == "expired"
    await asyncio.sleep(0.3)
    assert [query.payload for query in stage.worker.look()] == [b"[1]"]
    lane = client.target("m").lane
    assert sum(lane.chooser.outstanding) == lane.in_flight == 1
    stage.worker.answer(*stage.worker.taken)
    await within(10, first)
    assert set(lane.chooser.outstanding) == {0}


async def test_two_clients_get_their_own_answers(stage: Stage) -> None:
    other = await stage.new_client()
    asked = [stage.ask(b"[1]"), stage.ask(b"[2]", client=other)]
    stage.worker.answer(*await stage.worker.take(2))
    assert [answer.value for answer in await within(10, asyncio.gather(*asked))] == [b"[1]", b"[2]"]


async def test_a_client_can_be_used_as_soon_as_it_has_started(stage: Stage) -> None:
    for _ in range(5):
        client = await stage.new_client()
        asked = stage.ask(b"[1]", client=client)
        await asyncio.sleep(0)
        assert client.in_flight == 1, asked


async def test_queries_are_spread_over_the_partitions(stage: Stage) -> None:
    for number in range(8):
        asked = stage.ask(b"[%d]" % number)
        stage.worker.answer((await stage.worker.take(number + 1))[-1])
        await within(10, asked)
    counts = Counter(record.partition for record in stage.broker.records(stage.topic))
    assert counts == dict.fromkeys(range(4), 2)


async def test_rows_of_a_partition_that_does_not_answer_count_until_they_are_given_up(stage: Stage) -> None:
    stuck = stage.ask(rows=100, timeout_ms=300)
    await stage.worker.take(1)
    assert sum(stage.target.lane.chooser.outstanding) == 100
    assert (await within(10, stuck)).outcome == "expired"
    assert sum(stage.target.lane.chooser.outstanding) == 0


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        ("bad_input", BadInputError),
        ("model_error", ModelError),
        ("expired", ExpiredError),
        ("rejected", RejectedError),
        ("no_model", NoModelError),
    ],
)
async def test_an_outcome_is_an_answer_for_ask_and_an_error_for_predict(
    stage: Stage, outcome: str, error: type[SkysailError]
) -> None:
    asked = asyncio.create_task(stage.client.predict("m", [1, 2]))
    stage.worker.answer(*await stage.worker.take(1), outcome=outcome, value="the caüse".encode())
    with pytest.raises(error, match="the caüse"):
        await within(10, asked)


async def test_predict_takes_and_gives_python_values(stage: Stage) -> None:
    inputs = [[1.5, None], {"b": "ü", "a": []}]
    asked = asyncio.create_task(stage.client.predict("m", inputs))
    (query,) = await stage.worker.take(1)
    assert (json.loads(query.payload), query.rows) == (inputs, 2)
    stage.worker.answer(query)
    assert await within(10, asked) == inputs
    assert await stage.client.predict("m", []) == []


async def test_tensors_are_given_as_arrays() -> None:
    import numpy as np

    answer = Answer("ok", encode_tensors({"y": np.arange(3)}), tensor=True, version="1", source="model")
    assert outputs_of(answer)["y"].tolist() == [0, 1, 2]


# Deadlines.


async def test_a_query_without_an_answer_expires_and_a_late_answer_is_ignored(stage: Stage) -> None:
    late = await within(10, stage.ask(timeout_ms=50))
    assert (late.outcome, late.cause) == ("expired", "no prediction within 50 ms")
    assert stage.client.in_flight == 0
    asked = stage.ask(b"[2]")
    first, second = await stage.worker.take(2)
    stage.worker.answer(first, second)
    assert (await within(10, asked)).value == b"[2]"


async def test_queries_with_different_limits_expire_each_at_its_own(stage: Stage) -> None:
    patient, hasty = stage.ask(timeout_ms=LONG_MS), stage.ask(timeout_ms=50)
    assert (await within(10, hasty)).outcome == "expired"
    assert not patient.done()
    stage.worker.answer((await stage.worker.take(2))[0])
    assert (await within(10, patient)).outcome == "ok"


async def test_a_caller_that_goes_away_leaves_nothing_behind(stage: Stage) -> None:
    gone, other = stage.ask(b"[1]"), stage.ask(b"[2]")
    queries = await stage.worker.take(2)
    gone.cancel()
    stage.worker.answer(*queries)
    assert (await within(10, other)).value == b"[2]"
    await wait_until_async(lambda: stage.client.in_flight == 0, 10, "nothing is in flight")


async def test_an_answer_that_comes_twice_is_taken_once(stage: Stage) -> None:
    asked = stage.ask()
    (query,) = await stage.worker.take(1)
    stage.worker.answer(query, value=b"[1]")
    stage.worker.answer(query, value=b"[2]")
    assert (await within(10, asked)).value == b"[1]"
    assert stage.client.in_flight == 0


async def test_an_id_that_is_on_its_way_is_not_sent_again(stage: Stage) -> None:
    asked = stage.ask(b"[1]", query_id="same")
    await stage.worker.take(1)
    with pytest.raises(ConflictError, match="same"):
        await stage.ask(b"[2]", query_id="same")
    stage.worker.answer(*await stage.worker.take(1))
    assert (await within(10, asked)).value == b"[1]"


# Sharing answers.


async def test_identical_queries_share_one_record(stage: Stage) -> None:
    asked = [stage.ask(b"[1]", cache_ttl_s=60) for _ in range(50)] + [stage.ask(b"[2]", cache_ttl_s=60)]
    queries = await stage.worker.take(2)
    stage.worker.answer(*queries)
    answers = await within(10, asyncio.gather(*asked))
    assert Counter(answer.value for answer in answers) == {b"[1]": 50, b"[2]": 1}


async def test_queries_that_may_not_be_cached_share_nothing(stage: Stage) -> None:
    asked = [stage.ask(b"[1]") for _ in range(3)]
    stage.worker.answer(*await stage.worker.take(3))
    await within(10, asyncio.gather(*asked))


async def test_a_second_caller_with_less_time_gives_up_at_its_own_deadline(stage: Stage) -> None:
    patient = stage.ask(cache_ttl_s=60)
    await stage.worker.take(1)
    hasty = await within(10, stage.ask(timeout_ms=50, cache_ttl_s=60))
    assert (hasty.outcome, hasty.cause) == ("expired", "no prediction within 50 ms")
    assert not patient.done()
    stage.worker.answer(*await stage.worker.take(1))
    assert (await within(10, patient)).outcome == "ok"


async def test_a_second_caller_with_more_time_is_not_given_up_with_the_first(stage: Stage) -> None:
    hasty = stage.ask(timeout_ms=200, cache_ttl_s=60)
    await stage.worker.take(1)
    patient = [stage.ask(cache_ttl_s=60) for _ in range(3)]
    assert (await within(10, hasty)).outcome == "expired"
    (_, again) = await stage.worker.take(2)
    assert again.deadline_ms is not None
    assert again.deadline_ms - time.time_ns() // 1_000_000 > LONG_MS // 2
    stage.worker.answer(again)
    assert {answer.outcome for answer in await within(10, asyncio.gather(*patient))} == {"ok"}


async def test_a_caller_that_goes_away_takes_nobody_with_it(stage: Stage) -> None:
    first, second = stage.ask(cache_ttl_s=60), stage.ask(cache_ttl_s=60)
    (query,) = await stage.worker.take(1)
    first.cancel()
    stage.worker.answer(query)
    assert (await within(10, second)).outcome == "ok"


async def test_a_known_answer_needs_no_broker(stage: Stage) -> None:
    asked = stage.ask(cache_ttl_s=60)
    stage.worker.answer(*await stage.worker.take(1))
    await within(10, asked)
    stage.broker.stop()
    answer = await within(10, stage.ask(cache_ttl_s=60))
    assert (answer.outcome, answer.value, answer.source) == ("ok", b"[1]", "local-cache")


async def test_an_answer_in_the_store_needs_no_broker(stage: Stage) -> None:
    asked = stage.ask(cache_ttl_s=60)
    (query,) = await stage.worker.take(1)
    stage.worker.answer(query)
    stage.worker.write(*cache_store_command(stage.target.cache_prefix, query, (b"[7]", False)))
    await within(10, asked)
    other = await stage.new_client()
    stage.broker.stop()
    for source in ("shared-cache", "local-cache"):
        answer = await within(10, stage.ask(cache_ttl_s=60, client=other))
        assert (answer.value, answer.source, answer.version) == (b"[7]", source, "1")


async def test_a_failure_is_not_kept(stage: Stage) -> None:
    asked = stage.ask(cache_ttl_s=60)
    stage.worker.answer(*await stage.worker.take(1), outcome="model_error")
    assert (await within(10, asked)).outcome == "model_error"
    again = stage.ask(cache_ttl_s=60)
    stage.worker.answer((await stage.worker.take(2))[1])
    assert (await within(10, again)).outcome == "ok"


async def test_versions_share_no_answers(stage: Stage) -> None:
    second = ModelSpec(name="m", version="2", partitions=1)
    topic = TopicNames(stage.namespace).version("m", "2")
    stage.broker.create_topic(topic, 1)
    asked = stage.ask(cache_ttl_s=60)
    stage.worker.answer(*await stage.worker.take(1))
    await within(10, asked)
    await stage.registry.create_model(second)
    await stage.registry.set_current("m", "2")
    await wait_until_async(lambda: stage.client.target("m").topic == topic, 10, "version 2 is current")
    newer = HandWorker(stage.broker, stage.url, stage.namespace, topic, version="2")
    asked = stage.ask(cache_ttl_s=60)
    newer.answer(*await newer.take(1), value=b"[8]")
    answer = await within(10, asked)
    assert (answer.value, answer.version, answer.source) == (b"[8]", "2", "model")
    newer.close()
    pinned = await stage.client.ask(stage.client.target("m", "1"), b"[1]", timeout_ms=LONG_MS, cache_ttl_s=60)
    assert (pinned.value, pinned.version, pinned.source) == (b"[1]", "1", "local-cache")


async def test_a_digest_of_a_query_that_the_store_knows_is_what_a_worker_would_write(stage: Stage) -> None:
    asked = stage.ask(b"[5]", cache_ttl_s=60)
    (query,) = await stage.worker.take(1)
    command = cache_store_command(stage.target.cache_prefix, query, (b"", False))
    assert command[1] == stage.target.cache_prefix + cache_digest(query).hex()
    stage.worker.answer(query)
    await within(10, asked)


# What a client refuses.


async def test_a_model_that_is_not_there_is_named(stage: Stage) -> None:
    with pytest.raises(NoModelError, match="no model is named 'none'"):
        stage.client.target("none")
    with pytest.raises(NoModelError, match="Requested version: 9 does not exist for model: m"):
        await stage.client.predict("m", [1], version="9")


async def test_too_many_in_flight_are_rejected_and_taken_again_later(stage: Stage) -> None:
    client = await stage.new_client(max_in_flight=10)
    asked = [stage.ask(b"[%d]" % number, client=client) for number in range(10)]
    await stage.worker.take(10)
    with pytest.raises(RejectedError, match="10 queries of model m are in flight; the limit is 10") as caught:
        await stage.ask(client=client)
    assert (caught.value.status, caught.value.retry_after_s) == (429, 1)
    stage.worker.answer(*stage.worker.taken)
    await within(10, asyncio.gather(*asked))
    again = stage.ask(b"[11]", client=client)
    stage.worker.answer((await stage.worker.take(11))[-1])
    assert (await within(10, again)).outcome == "ok"


async def test_joining_a_query_is_not_counted_as_one_more(stage: Stage) -> None:
    client = await stage.new_client(max_in_flight=1)
    asked = [stage.ask(client=client, cache_ttl_s=60) for _ in range(5)]
    stage.worker.answer(*await stage.worker.take(1))
    assert {answer.outcome for answer in await within(10, asyncio.gather(*asked))} == {"ok"}


async def test_a_payload_that_the_broker_would_not_take_is_refused(stage: Stage) -> None:
    with pytest.raises(PayloadTooLargeError):
        await within(10, stage.ask(bytes(40 * 1024 * 1024)))
    assert stage.client.in_flight == 0


async def test_a_record_that_is_not_stored_fails_its_query(stage: Stage) -> None:
    await stage.registry.create_model(ModelSpec(name="topicless", version="1"))
    await stage.registry.set_current("topicless", "1")
    await wait_until_async(lambda: "topicless" in stage.client.view.snapshot.current, 10, "the model is known")
    with pytest.raises(UnavailableError, match="the broker did not take the query: there is no"):
        await within(10, stage.client.predict("topicless", [1]))


# Absences.


async def test_a_broker_that_is_away_is_told_at_once_and_found_again(stage: Stage) -> None:
    asked = stage.ask()
    await wait_until_async(lambda: stage.client.in_flight == 1, 10, "the query is sent")
    stage.broker.stop()
    with pytest.raises(UnavailableError, match="the broker is away"):
        await within(1, stage.ask(b"[2]"))
    stage.worker.answer(*await until_started(stage))
    assert (await within(10, asked)).outcome == "ok", "what was stored is answered all the same"
    assert stage.client.broker_available


async def until_started(stage: Stage) -> list[Any]:
    stage.broker.start()
    return await stage.worker.take(1)


async def test_a_store_that_is_away_fails_what_waits_and_is_found_again(
    own_redis: Factory[Redis], namespace: str
) -> None:
    store = own_redis()
    async with Stage(store.url, namespace) as stage:
        asked = [stage.ask(b"[%d]" % number, cache_ttl_s=60) for number in range(20)]
        await stage.worker.take(20)
        store.kill()
        for each in asked:
            with pytest.raises(UnavailableError, match="the store went away before the answer came"):
                await within(2, each)
        for ttl_s in (0, 60):
            with pytest.raises(UnavailableError, match="the store is away"):
                await within(1, stage.ask(cache_ttl_s=ttl_s))
        assert not stage.client.store_available
        assert stage.client.in_flight == 0
        store.start()
        await wait_until_async(lambda: stage.client.store_available, 10, "the store is found again")
        again = stage.ask(b"[21]", cache_ttl_s=60)
        stage.worker.answer((await stage.worker.take(21))[-1])
        assert (await within(10, again)).outcome == "ok"


async def test_a_store_that_was_away_for_a_moment_costs_no_answer(stage: Stage) -> None:
    asked = [stage.ask(b"[%d]" % number) for number in range(20)]
    queries = await stage.worker.take(20)
    store = async_store(stage.url)
    for connection in await store.client_list():
        if connection["id"] != str(await store.client_id()):
            await store.client_kill_filter(_id=connection["id"])
    await store.aclose()
    await wait_until_async(lambda: answered(stage.worker, queries), 5, "the worker has a connection again")
    assert {answer.outcome for answer in await within(10, asyncio.gather(*asked))} == {"ok"}


def answered(worker: HandWorker, queries: list[Any]) -> bool:
    try:
        worker.answer(*queries)
    except UnavailableError:
        return False
    return True


async def test_a_store_that_is_a_replica_for_a_while_is_away_for_so_long(
    own_redis: Factory[Redis], namespace: str
) -> None:
    server = own_redis()
    async with Stage(server.url, namespace) as stage, async_store(server.url) as store:
        waiting = stage.ask()
        await stage.worker.take(1)
        await store.replicaof("127.0.0.1", 1)  # of nobody, so that it keeps its data
        with pytest.raises(UnavailableError, match="the store went away before the answer came"):
            await within(10, waiting)
        with pytest.raises(UnavailableError, match="the store is away"):
            await within(1, stage.ask())
        await store.replicaof("NO", "ONE")
        await wait_until_async(lambda: stage.client.store_available, 10, "the store takes writes again")
        asked = stage.ask()
        stage.worker.answer((await stage.worker.take(2))[1])
        assert (await within(10, asked)).outcome == "ok"
        await stage.registry.create_model(ModelSpec(name="m", version="2", partitions=4))
        await stage.registry.set_current("m", "2")
        followed = lambda: stage.client.view.snapshot.current == {"m": "2"}  # noqa: E731
        await wait_until_async(followed, 10, "the registry is followed again")


async def test_a_store_that_refuses_writes_while_nobody_waits_is_away(
    own_redis: Factory[Redis], namespace: str
) -> None:
    server = own_redis()
    async with Stage(server.url, namespace) as stage, async_store(server.url) as store:
        await store.config_set("min-replicas-to-write", 1)
        await wait_until_async(lambda: not stage.client.store_available, 10, "the refusal is noticed")
        await store.config_set("min-replicas-to-write", 0)
        await wait_until_async(lambda: stage.client.store_available, 10, "the store takes writes again")


async def test_an_entry_that_is_no_reply_does_not_stop_the_replies(stage: Stage) -> None:
    key = KeyNames(stage.namespace).replies(stage.client.client_id)
    asked = stage.ask()
    (query,) = await stage.worker.take(1)
    stage.worker.write("XADD", key, "*", "b", b"\xa5\xa2\xff\xff")
    stage.worker.answer(query)
    assert (await within(10, asked)).outcome == "ok"


async def test_a_client_that_cannot_start_says_why_and_leaves_nothing_behind() -> None:
    client = PredictionClient(MemoryBroker().producer, "redis://127.0.0.1:1")
    before = asyncio.all_tasks()
    with pytest.raises(UnavailableError, match=r"the store did not answer within 0\.2 s: the store is away"):
        await client.start(timeout_s=0.2)
    assert asyncio.all_tasks() == before


# Closing.


async def test_closing_fails_what_is_in_flight_and_what_comes_after(stage: Stage) -> None:
    client = await stage.new_client()
    asked = [
        stage.ask(b"[1]", client=client),
        *[stage.ask(b"[2]", client=client, cache_ttl_s=60) for _ in range(3)],
    ]
    await stage.worker.take(2)
    await client.close()
    for each in asked:
        with pytest.raises(UnavailableError, match="clos"):
            await within(1, each)
    for ttl_s in (0, 60):
        with pytest.raises(UnavailableError, match="clos"):
            await within(1, stage.ask(b"[3]", client=client, cache_ttl_s=ttl_s))
    await client.close()


async def test_closing_fails_what_is_still_looking_for_a_known_answer(stage: Stage) -> None:
    client = await stage.new_client()
    asked = [stage.ask(b"[%d]" % number, client=client, cache_ttl_s=60) for number in range(5)]
    await asyncio.sleep(0)  # the look-ups are on their way
    await client.close()
    for each in asked:
        with pytest.raises(UnavailableError, match="clos"):
            await within(1, each)
    assert stage.worker.look() == []


Registration = Callable[[Stage], Any]


async def test_a_version_that_is_deleted_is_forgotten(stage: Stage) -> None:
    await stage.registry.clear_current("m")
    await stage.registry.delete_model("m", "1")
    await wait_until_async(lambda: not stage.client.view.snapshot.models, 10, "the model is gone")
    assert stage.client._targets == {}
    assert stage.client._lanes == {}
