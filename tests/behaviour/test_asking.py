"""What whoever asks may rely on, whichever broker carries the queries."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from skysail.topics.blocking import BlockingPredictionClient
from skysail.topics.client import PredictionClient
from skysail.topics.errors import ExpiredError, ModelError, RejectedError, UnavailableError
from skysail.topics.payloads import encode_json
from skysail.topics.pending import Answer
from skysail.topics.records import ConsumedRecord
from tests.behaviour.served import PARTITIONS, Served
from tests.waiting import wait_until_async

TIMEOUT_S = 30.0


def asking(client: PredictionClient, *rows: Any, **more: Any) -> Coroutine[Any, Any, Answer]:
    options = {"timeout_ms": int(TIMEOUT_S * 1000), **more}
    return client.ask(client.target("m"), encode_json(rows), rows=len(rows), **options)


async def until_running(served: Served, row: Any) -> None:
    await wait_until_async(lambda: served.seen(row), TIMEOUT_S, f"the model runs {row}")


async def test_an_answer_comes(client: PredictionClient) -> None:
    assert await client.predict("m", [1, "two", {"three": None}], timeout_s=TIMEOUT_S) == [1, "two", {"three": None}]


async def test_of_a_thousand_at_once_each_gets_its_own_answer_and_they_share_batches(
    served: Served, client: PredictionClient
) -> None:
    before = len(served.batches)
    outputs = await asyncio.gather(
        *[client.predict("m", [[number, "thousand"]], timeout_s=TIMEOUT_S) for number in range(1000)]
    )
    assert outputs == [[[number, "thousand"]] for number in range(1000)]
    batches = served.batches[before:]
    assert sum(len(batch) for batch in batches) == 1000, "each row ran once"
    assert len(batches) < 1000
    assert client.in_flight == 0


async def test_while_the_model_is_busy_queries_gather_in_batches(served: Served, client: PredictionClient) -> None:
    with served.gate("busy") as gate:
        first = asyncio.create_task(asking(client, {"wait": "busy"}))
        await until_running(served, {"wait": "busy"})
        waiting = [asyncio.create_task(asking(client, ["gathered", number])) for number in range(200)]
        await wait_until_async(lambda: client.in_flight == 201, TIMEOUT_S, "all are on their way")
        gate.set()
        answers = await asyncio.gather(first, *waiting)
    assert {answer.outcome for answer in answers} == {"ok"}
    assert max(answer.batch_rows for answer in answers) > 1
    assert max(answer.batch_rows for answer in answers) <= 64


async def test_rows_that_were_asked_together_are_answered_together(client: PredictionClient) -> None:
    rows = [["together", number] for number in range(300)]
    assert await client.predict("m", rows, timeout_s=TIMEOUT_S) == rows


async def test_identical_queries_share_one_record_and_their_answer_is_kept(
    served: Served, client: PredictionClient
) -> None:
    row = "asked by many"
    answers = await asyncio.gather(*[asking(client, row, cache_ttl_s=60) for _ in range(50)])
    assert {answer.value for answer in answers} == {encode_json([row])}
    assert served.seen(row) == 1
    assert (await asking(client, row, cache_ttl_s=60)).source == "local-cache"
    other = served.client()
    await other.start()
    await wait_until_async(lambda: is_shared(other, row), TIMEOUT_S, "the worker has left the answer in the store")
    await other.close()
    assert served.seen(row) == 1


async def is_shared(client: PredictionClient, row: Any) -> bool:
    return (await asking(client, row, cache_ttl_s=60)).source == "shared-cache"


async def test_two_clients_share_a_worker(served: Served, client: PredictionClient) -> None:
    other = served.client()
    await other.start()
    mine, theirs = await asyncio.gather(
        asyncio.gather(*[client.predict("m", [["mine", number]], timeout_s=TIMEOUT_S) for number in range(100)]),
        asyncio.gather(*[other.predict("m", [["theirs", number]], timeout_s=TIMEOUT_S) for number in range(100)]),
    )
    await other.close()
    assert mine == [[["mine", number]] for number in range(100)]
    assert theirs == [[["theirs", number]] for number in range(100)]


async def test_code_without_an_event_loop_asks_as_well(served: Served) -> None:
    def ask() -> list[Any]:
        with BlockingPredictionClient(served.producer, served.redis_url, served.namespace) as client:
            return client.predict("m", ["blocking"], timeout_s=TIMEOUT_S)

    assert await asyncio.to_thread(ask) == ["blocking"]


# Deadlines.


async def test_at_its_deadline_a_query_is_given_up_and_a_late_answer_is_ignored(
    served: Served, client: PredictionClient
) -> None:
    with served.gate("late"):
        with pytest.raises(ExpiredError, match="no prediction within 300 ms"):
            await client.predict("m", [{"wait": "late"}], timeout_s=0.3)
        assert client.in_flight == 0
    assert await client.predict("m", ["after the late one"], timeout_s=TIMEOUT_S) == ["after the late one"]


async def test_a_query_that_expired_while_it_waited_is_never_run(served: Served, client: PredictionClient) -> None:
    with served.gate("expire"):
        first = asyncio.create_task(asking(client, {"wait": "expire"}))
        await until_running(served, {"wait": "expire"})
        expired = await asking(client, "too late to run", timeout_ms=100)
        assert expired.outcome == "expired"
    assert (await first).outcome == "ok"
    # One query to each partition: when they are answered, whatever was before them has been dealt with.
    await asyncio.gather(*[asking(client, ["behind the expired", number]) for number in range(4 * PARTITIONS)])
    assert served.seen("too late to run") == 0


# Failures of one query are that query's.


async def test_a_model_error_is_told_with_its_cause(client: PredictionClient) -> None:
    with pytest.raises(ModelError, match="ValueError: out of tune"):
        await client.predict("m", [{"raise": "out of tune"}], timeout_s=TIMEOUT_S)


async def test_a_query_that_the_model_raises_on_fails_alone(served: Served, client: PredictionClient) -> None:
    with served.gate("poison") as gate:
        first = asyncio.create_task(asking(client, {"wait": "poison"}))
        await until_running(served, {"wait": "poison"})
        rows = [["beside the poison", number] for number in range(20)]
        waiting = [asyncio.create_task(asking(client, row)) for row in rows]
        poison = asyncio.create_task(asking(client, {"raise": "poison"}))
        await wait_until_async(lambda: client.in_flight == 22, TIMEOUT_S, "all are on their way")
        gate.set()
        answers = await asyncio.gather(first, *waiting)
    assert {answer.outcome for answer in answers} == {"ok"}
    assert (await poison).outcome == "model_error"


@pytest.mark.parametrize("payload", [b"[1,", b"[1]", b"{}", b"", b"\xff"])
async def test_input_that_is_not_what_it_says_is_told(client: PredictionClient, payload: bytes) -> None:
    answer = await client.ask(client.target("m"), payload, rows=2, timeout_ms=int(TIMEOUT_S * 1000))
    assert answer.outcome == "bad_input"
    assert answer.cause


async def test_a_record_that_cannot_be_read_is_put_aside_and_the_partition_moves_on(
    served: Served, client: PredictionClient
) -> None:
    for partition in range(PARTITIONS):
        headers = [("skysail-rows", b"many"), ("binary", b"\xff")]
        served.bench.send(served.topic, b"unreadable", key=None, headers=headers, partition=partition)
    outputs = await asyncio.gather(
        *[client.predict("m", [["behind", number]], timeout_s=TIMEOUT_S) for number in range(4 * PARTITIONS)]
    )
    assert outputs == [[["behind", number]] for number in range(4 * PARTITIONS)]
    letters = await asyncio.to_thread(read_letters, served, b"unreadable", PARTITIONS)
    named = [dict(letter.headers or ()) for letter in letters]
    assert {each["skysail-dlt-original-topic"] for each in named} == {served.topic.encode()}
    assert {each["skysail-dlt-original-partition"] for each in named} == {b"0", b"1", b"2", b"3"}
    assert {each["binary"] for each in named} == {b"\xff"}
    assert all(b"skysail-rows" in (each["skysail-dlt-error"] or b"") for each in named)


def read_letters(served: Served, value: bytes, count: int) -> list[ConsumedRecord]:
    """The dead letters of that value; those of other tests are among them."""
    found: list[ConsumedRecord] = []
    others = 0
    while len(found) < count:
        letters = served.bench.read(f"{served.topic}-dlt", count + others)
        found = [letter for letter in letters if letter.value == value]
        others = len(letters) - len(found)
    return found


# Bounds and ends.


async def test_too_many_in_flight_are_rejected(served: Served) -> None:
    client = served.client(max_in_flight=8)
    await client.start()
    with served.gate("full"):
        waiting = [asyncio.create_task(asking(client, {"wait": "full"})) for _ in range(8)]
        await wait_until_async(lambda: client.in_flight == 8, TIMEOUT_S, "all are on their way")
        with pytest.raises(RejectedError, match="8 queries of model m are in flight"):
            await client.predict("m", ["one too many"])
    assert {answer.outcome for answer in await asyncio.gather(*waiting)} == {"ok"}
    assert await client.predict("m", ["not too many"], timeout_s=TIMEOUT_S) == ["not too many"]
    await client.close()


async def test_closing_fails_what_is_in_flight(served: Served) -> None:
    client = served.client()
    await client.start()
    with served.gate("closing"):
        waiting = [asyncio.create_task(asking(client, {"wait": "closing"})) for _ in range(3)]
        await wait_until_async(lambda: client.in_flight == 3, TIMEOUT_S, "all are on their way")
        await client.close()
        for each in waiting:
            with pytest.raises(UnavailableError, match="closing"):
                await asyncio.wait_for(each, 2)
