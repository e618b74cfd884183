"""Faults injected for real, under load, with every query accounted for. `make chaos` prints a line for each."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import httpx
import pytest
import redis

from skysail.topics.names import KeyNames, TopicNames
from tests.chaos.account import Account
from tests.chaos.cluster import Cluster
from tests.chaos.conftest import Fault
from tests.chaos.load import KafkaLoad, RestLoad
from tests.chaos.models import POISON, SEGFAULT, fragile, slow_if, steady
from tests.waiting import wait_until_async

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

COUNT = 5000
Books = Callable[[str], Fault]


def nothing_lost(account: Account) -> None:
    """The promise."""
    assert account.lost == {}
    assert len(account.answers) + len(account.failed) == len(account.sent)


async def test_a_worker_killed_under_load_loses_nothing(cluster: Cluster, fault: Books) -> None:
    url = cluster.serve("steady", steady, replicas=2)
    case = fault("worker-kill-9")
    load = RestLoad(url, case.account, count=COUNT)
    async with load.running():
        await load.reached(0.2)
        case.strike()
        os.kill(cluster.worker_pids("steady")[0], signal.SIGKILL)
    nothing_lost(case.account)
    assert case.account.ok == COUNT


async def test_the_only_worker_killed_under_load_is_restarted_and_answers_everything(
    cluster: Cluster, fault: Books
) -> None:
    url = cluster.serve("steady", steady)
    case = fault("only-worker-kill-9")
    load = RestLoad(url, case.account, count=COUNT)
    async with load.running():
        await load.reached(0.2)
        case.strike()
        os.kill(cluster.worker_pids("steady")[0], signal.SIGKILL)
    nothing_lost(case.account)
    assert case.account.ok == COUNT


async def test_kafka_restarted_under_load_loses_nothing(cluster: Cluster, fault: Books) -> None:
    url = cluster.serve("steady", steady)
    case = fault("kafka-restart")
    load = RestLoad(url, case.account, count=COUNT, retry=True)
    async with load.running():
        await load.reached(0.2)
        case.strike()
        await asyncio.to_thread(cluster.kafka.restart)
    nothing_lost(case.account)
    assert case.account.ok == COUNT


async def test_redis_restarted_with_its_data_loses_nothing(cluster: Cluster, fault: Books) -> None:
    url = cluster.serve("steady", steady)
    case = fault("redis-restart")
    load = RestLoad(url, case.account, count=COUNT, retry=True)
    async with load.running():
        await load.reached(0.2)
        case.strike()
        await asyncio.to_thread(cluster.redis.restart)
    nothing_lost(case.account)
    assert case.account.ok == COUNT


async def test_redis_restarted_without_its_data_is_given_its_registry_back(cluster: Cluster, fault: Books) -> None:
    url = cluster.serve("steady", steady)
    case = fault("redis-data-lost")
    load = RestLoad(url, case.account, count=COUNT, retry=True)
    async with load.running():
        await load.reached(0.2)
        case.strike()
        await asyncio.to_thread(lambda: cluster.redis.restart(keep_data=False))
        await wait_until_async(lambda: _registered(cluster), 10, "the registry is restored")
    nothing_lost(case.account)
    assert case.account.ok == COUNT


async def test_callers_hear_the_truth_while_broker_or_store_are_away(cluster: Cluster, fault: Books) -> None:
    url = cluster.serve("steady", steady)
    for name, service in (("kafka", cluster.kafka), ("redis", cluster.redis)):
        case = fault(f"{name}-away")
        load = RestLoad(url, case.account, count=COUNT, text_of=lambda number, name=name: f"{name} {number}")  # type: ignore[misc]
        async with load.running():
            await load.reached(0.2)
            case.strike()
            await asyncio.to_thread(service.kill)
            await load.reached(0.8)
            await asyncio.to_thread(service.start)
        nothing_lost(case.account)
        assert all(reason.startswith(("503", "504")) for reason in case.account.failed.values())
        await wait_until_async(lambda: _answers(url), 30, f"answers after {name} is back")


async def test_a_frontend_killed_under_load_leaves_its_answers_in_the_cache(
    two_frontends: Cluster, fault: Books
) -> None:
    cluster = two_frontends
    cluster.serve("steady", steady, cache_ttl_s=300)
    case = fault("frontend-kill-9")
    alive = 0
    load = RestLoad(lambda: cluster.url("/steady/predict", alive), case.account, count=COUNT, retry=True)
    (worker,) = cluster.worker_pids("steady")
    async with load.running():
        await load.reached(0.2)
        os.kill(worker, signal.SIGSTOP)  # so that the frontend dies with queries in flight, published and unanswered
        await wait_until_async(lambda: _in_flight(cluster) >= 32, 10, "queries are in flight")
        known = _cached(cluster)
        case.strike()
        cluster.frontends[0].kill()
        os.kill(worker, signal.SIGCONT)
        await wait_until_async(lambda: _cached(cluster) >= known + 32, 30, "they are computed all the same")
        alive = 1
    nothing_lost(case.account)
    assert case.account.ok == COUNT
    assert load.cache_hits >= 32  # what the dead frontend had published was computed, and its callers' retries found it


async def test_poison_in_the_middle_of_batches_fails_alone(cluster: Cluster, fault: Books) -> None:
    url = cluster.serve("fragile", fragile)
    case = fault("poison-query")
    poisoned = range(50, COUNT, 100)

    def text_of(number: int) -> str:
        return f"{POISON if number in poisoned else 'query'} {number}"

    async with RestLoad(url, case.account, count=COUNT, text_of=text_of).running():
        case.strike()
    nothing_lost(case.account)
    assert set(case.account.failed) == {text_of(number) for number in poisoned}
    assert all("cannot digest" in reason for reason in case.account.failed.values())


async def test_a_query_that_segfaults_the_worker_is_dead_lettered_and_the_rest_go_on(
    cluster: Cluster, fault: Books
) -> None:
    url = cluster.serve("fragile", fragile, slo_s=120)
    case = fault("segfault-query")
    guilty = COUNT // 2

    def text_of(number: int) -> str:
        return f"{SEGFAULT if number == guilty else 'query'} {number}"

    async with RestLoad(url, case.account, count=COUNT, text_of=text_of).running():
        case.strike()
    nothing_lost(case.account)
    assert set(case.account.failed) == {text_of(guilty)}
    assert case.account.failed[text_of(guilty)].startswith("500")


async def test_a_slow_replica_beside_a_fast_one_holds_nothing_up_for_good(cluster: Cluster, fault: Books) -> None:
    marker = cluster.folder / "slow"
    marker.touch()
    url = cluster.serve("uneven", slow_if(str(marker)), replicas=2)
    case = fault("slow-replica")
    async with RestLoad(url, case.account, count=COUNT).running():
        case.strike()
    nothing_lost(case.account)
    assert case.account.ok == COUNT


async def test_sigterm_during_batches_drains_and_loses_nothing(cluster: Cluster, fault: Books) -> None:
    url = cluster.serve("steady", steady, replicas=2)
    case = fault("worker-sigterm")
    load = RestLoad(url, case.account, count=COUNT)
    async with load.running():
        for share in (0.2, 0.4, 0.6):
            await load.reached(share)
            case.strike()
            os.kill(cluster.worker_pids("steady")[0], signal.SIGTERM)
    nothing_lost(case.account)
    assert case.account.ok == COUNT
    assert case.account.duplicated == 0


async def test_ten_promotions_and_rollbacks_under_load_add_no_error_and_lose_nothing(
    cluster: Cluster, fault: Books
) -> None:
    url = cluster.serve("steady", steady)
    cluster.deploy("steady", "2", steady)
    connection = cluster.connection
    topics = TopicNames()
    await _make_topic(cluster, "answers")
    rest, stream = fault("promotions-rest"), fault("promotions-kafka")
    kafka_load = KafkaLoad(cluster.kafka.address, topics.model("steady"), "answers", stream.account, count=COUNT)
    producing = asyncio.create_task(kafka_load.run(per_s=250))
    load = RestLoad(url, rest.account, count=COUNT, concurrency=16)
    async with load.running():
        for turn in range(10):
            await load.reached((turn + 1) / 12)
            rest.strike()
            stream.strike()
            await asyncio.to_thread(connection.set_model_version, "steady", "1" if turn % 2 == 0 else "2")
    await producing
    nothing_lost(rest.account)
    assert rest.account.ok == COUNT
    nothing_lost(stream.account)
    assert stream.account.ok == COUNT


def _in_flight(cluster: Cluster) -> float:
    lines = httpx.get(cluster.url("/metrics"), timeout=5).text.splitlines()
    return float(next(line for line in lines if line.startswith("skysail_frontend_in_flight ")).split()[1])


def _cached(cluster: Cluster) -> int:
    with redis.Redis.from_url(cluster.redis.url) as store:
        return sum(1 for _ in store.scan_iter(f"{KeyNames().cache_prefix('steady', '1')}*", count=1000))


def _registered(cluster: Cluster) -> bool:
    try:
        return "steady" in cluster.connection.get_all_apps()
    except Exception:  # noqa: BLE001 - the admin answers 503 until the store is back
        return False


def _answers(url: str) -> bool:
    return httpx.post(url, json={"input": "again"}, timeout=20).status_code == 200


async def _make_topic(cluster: Cluster, name: str) -> None:
    from skysail.topics.kafka.topics import TopicAdmin

    await TopicAdmin({"bootstrap.servers": cluster.kafka.address}, 1).create({name: 1})
