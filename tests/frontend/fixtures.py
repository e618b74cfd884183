"""Fixtures that the tests of the frontend and those of compatibility share."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tests.frontend.fakes import Stage, app, model, stage_of
from tests.frontend.system import FrontendProcess, System, acts, sums, system_of
from tests.services import Kafka, Redis

__all__ = ["frontend", "make_stage", "served"]

#: Microseconds: more than any test waits, and less than any model here takes.
PATIENT, HASTY = 20_000_000, 100_000


def mix(batch: dict[str, Any]) -> dict[str, Any]:
    """Two named inputs, two named outputs."""
    return {"sum": batch["a"].sum(axis=1) + batch["b"][:, 0], "text": batch["c"]}


@pytest.fixture
async def make_stage() -> AsyncIterator[Callable[..., Stage]]:
    """`stage_of`, whose stages are closed with the test."""
    stages: list[Stage] = []

    def make(*arguments: object, **options: object) -> Stage:
        stages.append(stage_of(*arguments, **options))  # type: ignore[arg-type]
        return stages[-1]

    yield make
    for stage in stages:
        await stage.close()


@pytest.fixture(scope="session")
def served(kafka: Kafka, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Models `acts` (json), `sums` (doubles) and `mix` (named tensors), each with a worker, and their applications."""
    folder = tmp_path_factory.mktemp("served")
    with system_of(kafka.address, redis_server.url, f"t{secrets.token_hex(4)}", folder) as system:
        inputs = (("a", "FP32", (-1, 2)), ("b", "INT64", (-1, 1)), ("c", "BYTES", (-1,)))
        system.serve(
            (model("sums"), sums, [app("sums", latency_slo_micros=PATIENT)]),
            (
                model("acts", kind="json"),
                acts,
                [
                    app("acts", "json", latency_slo_micros=PATIENT, cache_ttl_s=0),
                    app("cached", "json", latency_slo_micros=PATIENT),
                    app("hasty", "json", latency_slo_micros=HASTY, cache_ttl_s=0),
                    app("defaulted", "json", latency_slo_micros=HASTY, cache_ttl_s=0, default={"none": True}),
                ],
            ),
            (model("mix", kind="tensors", inputs=inputs), mix, []),
        )
        yield system


@pytest.fixture(scope="session")
def frontend(served: System) -> FrontendProcess:
    """A frontend in front of `served`."""
    return served.frontend().start()
