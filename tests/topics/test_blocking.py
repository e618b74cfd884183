from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from skysail.topics.blocking import BlockingPredictionClient
from skysail.topics.errors import BadInputError, NoModelError, UnavailableError
from skysail.topics.memory import MemoryBroker
from skysail.topics.names import KeyNames, TopicNames
from skysail.topics.specs import ModelSpec, encode_spec
from skysail.topics.store.connection import PipelinedStore
from tests.services import Redis
from tests.topics.hand_worker import HandWorker
from tests.waiting import wait_until


class Echo:
    """A worker on a thread of its own that answers each query with its input; `hold` keeps the answers back."""

    def __init__(self, url: str, namespace: str) -> None:
        self.broker = MemoryBroker()
        topic = TopicNames(namespace).version("m", "1")
        self.broker.create_topic(topic, 2)
        self.hand = HandWorker(self.broker, url, namespace, topic)
        self.outcome = "ok"
        self.hold = False
        self._answered = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            waiting = self.hand.look()[self._answered :]
            if waiting and not self.hold:
                self.hand.answer(*waiting, outcome=self.outcome)
                self._answered += len(waiting)
            self._stop.wait(0.002)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.hand.close()


@pytest.fixture
def echo(redis_server: Redis, namespace: str) -> Iterator[Echo]:
    keys = KeyNames(namespace)
    store = PipelinedStore(redis_server.url)
    spec = ModelSpec(name="m", version="1", partitions=2)
    store.execute(
        [("HSET", keys.models, "m/1", encode_spec(spec)), ("HSET", keys.current, "m", "1"), ("SET", keys.epoch, 1)]
    )
    store.close()
    echo = Echo(redis_server.url, namespace)
    yield echo
    echo.close()


@pytest.fixture
def client(echo: Echo, redis_server: Redis, namespace: str) -> Iterator[BlockingPredictionClient]:
    with BlockingPredictionClient(echo.broker.producer, redis_server.url, namespace) as client:
        yield client


def test_predict_blocks_until_the_answer_is_there(client: BlockingPredictionClient) -> None:
    assert client.predict("m", [[1.5], {"a": None}]) == [[1.5], {"a": None}]


def test_many_threads_share_one_client(client: BlockingPredictionClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        outputs = list(pool.map(lambda number: client.predict("m", [number]), range(400)))
    assert outputs == [[number] for number in range(400)]


def test_errors_are_raised_in_the_calling_thread(client: BlockingPredictionClient, echo: Echo) -> None:
    with pytest.raises(NoModelError, match="no model is named 'none'"):
        client.predict("none", [1])
    echo.outcome = "bad_input"
    with pytest.raises(BadInputError):
        client.predict("m", [1])


def test_closing_fails_calls_that_wait_and_calls_that_come_after(client: BlockingPredictionClient, echo: Echo) -> None:
    echo.hold = True
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(client.predict, "m", [number]) for number in range(8)]
        wait_until(lambda: len(echo.hand.taken) == 8, 10, "the queries are on their way")
        client.close()
        for each in waiting:
            with pytest.raises(UnavailableError, match="closing"):
                each.result(10)
    with pytest.raises(UnavailableError, match="not started, or closed"):
        client.predict("m", [1])
    client.close()


def test_closing_while_calls_begin_leaves_none_waiting(echo: Echo, redis_server: Redis, namespace: str) -> None:
    for _ in range(5):
        client = BlockingPredictionClient(echo.broker.producer, redis_server.url, namespace).start()
        begun = threading.Event()

        def ask(client: BlockingPredictionClient = client, begun: threading.Event = begun) -> str:
            try:
                while True:
                    client.predict("m", [1])
                    begun.set()
            except UnavailableError as error:
                return str(error)

        with ThreadPoolExecutor(8) as pool:
            asking = [pool.submit(ask) for _ in range(8)]
            assert begun.wait(10)
            client.close()
            assert {"clos" in each.result(10) for each in asking} == {True}


def test_a_client_that_cannot_start_raises_where_it_was_started() -> None:
    client = BlockingPredictionClient(MemoryBroker().producer, "redis://127.0.0.1:1")
    with pytest.raises(UnavailableError, match="the store did not answer"):
        client.start(timeout_s=0.1)
    with pytest.raises(UnavailableError, match="not started"):
        client.predict("m", [1])
    assert "prediction client" not in {thread.name for thread in threading.enumerate()}


def test_a_client_is_started_once(client: BlockingPredictionClient) -> None:
    with pytest.raises(RuntimeError, match="started already"):
        client.start()
