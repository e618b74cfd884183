"""NVIDIA Triton, by PyTriton, serving the workload's model. Its stub is built for the system's Python 3.11."""

import os

import numpy as np
from model import gather, load
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

DTYPES = {"FP64": np.float64, "FP32": np.float32, "BYTES": bytes}
predict_batch = load(os.environ["MODEL"])


@batch
def infer(input):  # noqa: A002 - the tensor's name
    rows = gather(input.reshape(-1).tolist()) if input.dtype == object else input
    return [np.asarray(predict_batch(rows), dtype=np.int64).reshape(-1, 1)]


if __name__ == "__main__":
    port = int(os.environ["PORT"])
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=port,
        grpc_port=int(os.environ["GRPC_PORT"]),
        allow_metrics=False,
        log_verbose=0,
    )
    columns = 1 if os.environ["DATATYPE"] == "BYTES" else int(os.environ["COLUMNS"])
    batcher = DynamicBatcher(max_queue_delay_microseconds=1000 * int(os.environ["WAIT_MS"]))
    with Triton(config=config) as triton:
        triton.bind(
            "served",
            infer,
            [Tensor(name="input", dtype=DTYPES[os.environ["DATATYPE"]], shape=(columns,))],
            [Tensor(name="output", dtype=np.int64, shape=(1,))],
            config=ModelConfig(max_batch_size=int(os.environ["MAX_BATCH"]), batcher=batcher),
        )
        triton.serve()
