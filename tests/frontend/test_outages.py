"""Broker or store away: callers are told at once, cached answers go on, and everything comes back by itself."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.frontend.fakes import app, model
from tests.frontend.system import FrontendProcess, System, acts, system_of
from tests.services import Kafka, Redis
from tests.services.factory import factory_of
from tests.services.service import Service
from tests.waiting import wait_until

#: Far less than the applications' deadline, so that what comes within it did not wait for that.
SOON_S = 5
PATIENT = 60_000_000


@pytest.fixture(scope="module")
def broker() -> Iterator[Kafka]:
    """A Kafka that these tests kill and start again."""
    with factory_of(Kafka) as start:
        yield start()


@pytest.fixture(scope="module")
def store() -> Iterator[Redis]:
    """A Redis that these tests kill and start again."""
    with factory_of(Redis) as start:
        yield start()


@pytest.fixture(scope="module")
def system(broker: Kafka, store: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Model `acts`, and applications with and without a cache and a default."""
    with system_of(broker.address, store.url, "outages", tmp_path_factory.mktemp("outages")) as made:
        apps = [
            app("acts", "json", latency_slo_micros=PATIENT, cache_ttl_s=0, default="never for an outage"),
            app("cached", "json", latency_slo_micros=PATIENT, cache_ttl_s=600),
        ]
        made.serve((model("acts", kind="json"), acts, apps))
        yield made


@pytest.fixture(scope="module")
def frontend(system: System) -> FrontendProcess:
    """One frontend."""
    return system.frontend().start()


@pytest.fixture
def http(frontend: FrontendProcess) -> Iterator[httpx.Client]:
    """A client of the frontend, when that is ready."""
    frontend.wait_for("/readyz", 200)
    with httpx.Client(base_url=frontend.url, timeout=SOON_S) as client:
        yield client


def predict(http: httpx.Client, name: str, row: Any) -> httpx.Response:
    return http.post(f"/{name}/predict", json={"input": row})


def is_refused(response: httpx.Response) -> bool:
    """503 with Retry-After; never the default."""
    if response.status_code != 503:
        return False
    return response.headers["retry-after"] == "1" and response.json()["error"] == "Service unavailable"


def is_known(response: httpx.Response) -> bool:
    """An answer from the cache."""
    return response.status_code == 200 and response.headers["x-cache"] == "HIT"


def in_flight(http: httpx.Client, threads: ThreadPoolExecutor, count: int) -> list[Future[httpx.Response]]:
    """Queries that a worker has begun with, and others behind them."""
    rows = [{"sleep": 1.5, "name": index} for index in range(count)]
    asked = [threads.submit(predict, http, "acts", row) for row in rows]
    text = f"skysail_frontend_in_flight {float(count)}"
    wait_until(lambda: text in http.get("/metrics").text, 10, f"{count} queries in flight")
    return asked


def must_be_missed(frontend: FrontendProcess, what: str) -> None:
    """Readiness and log say what is away."""
    assert frontend.wait_for("/readyz", 503).json()["error"] == f"not available: {what}"
    wait_until(lambda: f"missing=['{what}']" in frontend.log_tail(1000), 10, f"a log line about the {what}")


def must_recover(http: httpx.Client, service: Service, frontend: FrontendProcess) -> None:
    """Start the service again, and wait for predictions."""
    service.start()
    frontend.wait_for("/readyz", 200)

    def answered() -> bool:
        try:
            return predict(http, "acts", "recovered").status_code == 200
        except httpx.TimeoutException:
            return False

    wait_until(answered, 60, lambda: f"a prediction\n{frontend.log_tail()}")


@pytest.mark.timeout(120)
def test_while_the_broker_is_away_only_known_answers_are_given(
    http: httpx.Client, frontend: FrontendProcess, broker: Kafka, store: Redis
) -> None:
    known = {"known": "before"}
    assert predict(http, "cached", known).headers["x-cache"] == "MISS"
    assert predict(http, "acts", "there").status_code == 200
    broker.kill()
    # The very next query is answered within the client's time, and so is each after it.
    assert is_refused(predict(http, "acts", "lost"))
    assert is_refused(predict(http, "cached", {"known": "not"}))
    assert is_known(predict(http, "cached", known))
    must_be_missed(frontend, "broker")
    feedback = http.post("/acts/update", json={"input": 1, "label": 1})
    assert (feedback.status_code, feedback.headers["retry-after"]) == (503, "1")
    tensor = {"name": "x", "shape": [1], "datatype": "BYTES", "data": ["1"]}
    oip = http.post("/v2/models/acts/infer", json={"inputs": [tensor]})
    assert (oip.status_code, set(oip.json())) == (503, {"error"})
    # What the process itself knows needs no store either.
    store.kill()
    assert is_known(predict(http, "cached", known))
    assert is_refused(predict(http, "cached", {"known": "not"}))
    store.start()
    must_recover(http, broker, frontend)


@pytest.mark.timeout(120)
def test_what_waits_for_a_store_that_goes_away_is_told_so(
    http: httpx.Client, frontend: FrontendProcess, store: Redis
) -> None:
    with ThreadPoolExecutor(3) as threads:
        asked = in_flight(http, threads, 3)
        store.kill()
        assert [is_refused(query.result()) for query in asked] == [True] * 3
    assert is_refused(predict(http, "acts", "lost"))
    must_be_missed(frontend, "store")
    response = http.get("/v2/models/acts/ready")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    must_recover(http, store, frontend)


def test_a_store_that_answers_no_more_is_a_store_that_is_away(
    http: httpx.Client, frontend: FrontendProcess, store: Redis
) -> None:
    store.restart()
    frontend.wait_for("/readyz", 200)
    # At once: while only one of the frontend's connections is back, the other must not be waited for.
    store.pause()
    try:
        wait_until(lambda: is_refused(predict(http, "acts", "stuck")), 10, "a refusal")
        assert is_refused(predict(http, "cached", {"stuck": True}))
        assert frontend.wait_for("/readyz", 503).json()["error"] == "not available: store"
    finally:
        store.resume()
    frontend.wait_for("/readyz", 200)
    wait_until(lambda: predict(http, "acts", "recovered").status_code == 200, 30, "a prediction")


def test_no_outage_was_a_fault_of_the_frontend(frontend: FrontendProcess) -> None:
    log = frontend.log_tail(1000)
    assert "Traceback" not in log
    assert "request_failed" not in log
