"""KServe's SDK serving the workload's model: it has no batching of its own."""

import logging
import os

from kserve import InferOutput, InferResponse, Model, ModelServer
from model import gather, load


class Served(Model):
    def __init__(self):
        super().__init__("served")
        self.predict_batch = load(os.environ["MODEL"])
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):  # noqa: ARG002 - KServe's signature
        tensor = payload.inputs[0]
        batch = gather(tensor.data) if tensor.datatype == "BYTES" else tensor.as_numpy()
        outputs = self.predict_batch(batch)
        answer = InferOutput("output", [len(outputs)], "INT64", data=outputs)
        return InferResponse(response_id="benchmark", model_name="served", infer_outputs=[answer])


if __name__ == "__main__":
    server = ModelServer(http_port=int(os.environ["PORT"]), enable_grpc=False, enable_latency_logging=False)
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False
    server.start([Served()])
