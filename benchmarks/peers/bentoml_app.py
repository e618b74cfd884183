"""BentoML serving the workload's model; its batcher waits as it learns to, up to `max_latency_ms`."""

import os

import bentoml
import numpy as np
from model import gather, load

Rows = list[str] if os.environ["DATATYPE"] == "BYTES" else np.ndarray


@bentoml.service(
    workers=1,
    traffic={"timeout": 60, "max_concurrency": 4096},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class Served:
    def __init__(self) -> None:
        self.predict_batch = load(os.environ["MODEL"])

    @bentoml.api(batchable=True, max_batch_size=int(os.environ["MAX_BATCH"]), max_latency_ms=10_000)
    def predict(self, rows: Rows) -> list[int]:
        return self.predict_batch(gather(rows))
