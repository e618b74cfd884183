"""LitServe serving the workload's model."""

import os

import litserve
from model import gather, load


class Served(litserve.LitAPI):
    def setup(self, device):  # noqa: ARG002 - LitServe's signature
        self.predict_batch = load(os.environ["MODEL"])

    def decode_request(self, request):
        return request["input"]

    def batch(self, inputs):
        return gather(inputs)

    def predict(self, inputs):
        return self.predict_batch(inputs)

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return {"output": output}


if __name__ == "__main__":
    api = Served(max_batch_size=int(os.environ["MAX_BATCH"]), batch_timeout=int(os.environ["WAIT_MS"]) / 1000)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        num_api_servers=1,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
