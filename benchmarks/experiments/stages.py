"""Where the time of one query goes, stage by stage, with one in flight at a time.

`Server-Timing` gives what the worker waited (`queue`) and predicted (`predict`), and what the frontend took from the
request's arrival to its answer (`total`). What is left of the total is frontend, broker and store with the processes'
own code around them; broker and store are also timed by themselves, with the same clients and settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.experiments.figures import markdown, medians, percentile, verdict
from benchmarks.experiments.legs import broker_leg_s, store_leg_s
from benchmarks.experiments.models import predict_seconds
from benchmarks.experiments.sequential import ask_in_turn
from benchmarks.experiments.stack import Stack
from benchmarks.results import save
from benchmarks.workloads import WORKLOADS, Workload
from skysail.admin.deployers.sklearn import deploy_sklearn_model

__all__ = ["run", "server_timing", "table"]

_NAMES = ("logistic", "forest")
_TARGET_MS = 1.0


def run(repeats: int = 3, seconds: float = 5.0) -> dict[str, Any]:
    """Both workloads, interleaved, on one deployment."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in _NAMES}
    with Stack() as stack:
        for name in _NAMES:
            _deploy(stack, WORKLOADS[name])
        for _ in range(repeats):
            points = {name: _stages(stack, WORKLOADS[name], seconds) for name in _NAMES}
            legs = {
                "broker_ms": 1e3 * percentile(broker_leg_s(stack.kafka.address, seconds), 0.5),
                "store_ms": 1e3 * percentile(store_leg_s(stack.redis.url, seconds), 0.5),
            }
            for name, point in points.items():
                found[name].append({**point, **legs})
                print(name, found[name][-1], flush=True)
    rows = {name: medians(points) for name, points in found.items()}
    targets = [
        verdict(f"added to p50, {name} (ms)", row["added_ms"], _TARGET_MS, at_least=False) for name, row in rows.items()
    ]
    result = {"repeats": repeats, "seconds": seconds, "p50": rows, "targets": targets}
    save(stages=result)
    return result


def _deploy(stack: Stack, workload: Workload) -> None:
    workload.prepare()
    model = workload.load()
    deploy_sklearn_model(stack.connection, workload.name, "1", model, input_type="doubles", objective_ms=20)
    stack.connection.register_application(workload.name, "doubles", slo_micros=10_000_000, cache_ttl_s=0)
    stack.connection.link_model_to_app(workload.name, workload.name)
    stack.wait_replicas(workload.name, 1)


def _stages(stack: Stack, workload: Workload, seconds: float) -> dict[str, float]:
    """p50 of each stage, in milliseconds."""
    bodies = [line.encode() for line in workload.bodies_path.read_text().splitlines()]
    ask_in_turn(stack.port, workload.name, bodies, seconds / 2)  # hot code is compiled, connections are made
    alone_s = predict_seconds(workload.load().predict, _rows(bodies), seconds)
    answers = ask_in_turn(stack.port, workload.name, bodies, seconds)
    timings = [server_timing(answer.head) for answer in answers]
    in_process_ms = 1e3 * percentile(alone_s, 0.5)
    total_ms = percentile((timing["total"] for timing in timings), 0.5)
    return {
        "in_process_ms": in_process_ms,
        "predict_ms": percentile((timing["predict"] for timing in timings), 0.5),
        "queue_ms": percentile((timing["queue"] for timing in timings), 0.5),
        "way_ms": percentile((t["total"] - t["queue"] - t["predict"] for t in timings), 0.5),
        "total_ms": total_ms,
        "caller_ms": 1e3 * percentile((answer.latency_s for answer in answers), 0.5),
        "added_ms": total_ms - in_process_ms,
    }


def _rows(bodies: list[bytes]) -> list[Any]:
    import msgspec

    return [msgspec.json.decode(body)["input"] for body in bodies]


def server_timing(head: bytes) -> dict[str, float]:
    """`Server-Timing` of an answer's head: milliseconds by stage.

    Raises:
        ValueError: when the head has none.
    """
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "server-timing":
            parts = (part.strip().split(";dur=") for part in value.split(","))
            return {stage: float(duration_ms) for stage, duration_ms in parts}
    message = f"no Server-Timing in {head!r}"
    raise ValueError(message)


_STAGES = {
    "in_process_ms": "the model called in this process",
    "predict_ms": "predict in the worker",
    "queue_ms": "waiting in the worker",
    "way_ms": "the rest: frontend, broker, worker and store, both ways",
    "broker_ms": "– of which a broker alone: produce to poll",
    "store_ms": "– of which a store alone: XADD to XREAD",
    "total_ms": "total in the frontend",
    "caller_ms": "seen by the caller",
    "added_ms": "**added to the model in process (total − in process)**",
}


def table(result: Mapping[str, Any]) -> str:
    """Stages down, workloads across, and the target."""
    p50 = result["p50"]
    rows = [{"p50, ms": label, **{name: f"{p50[name][stage]:.3f}" for name in p50}} for stage, label in _STAGES.items()]
    return markdown(rows) + "\n\n" + markdown(result["targets"])
