"""Ray Serve serving the workload's model."""

import os

import ray
from model import gather, load
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.requests import Request


@serve.deployment(max_ongoing_requests=512)
class Served:
    def __init__(self):
        self.predict_batch = load(os.environ["MODEL"])

    @serve.batch(max_batch_size=int(os.environ["MAX_BATCH"]), batch_wait_timeout_s=int(os.environ["WAIT_MS"]) / 1000)
    async def predict(self, inputs):
        return self.predict_batch(gather(inputs))

    async def __call__(self, request: Request):
        return {"output": await self.predict((await request.json())["input"])}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False)
    quiet = LoggingConfig(enable_access_log=False, log_level="WARNING")
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])}, logging_config=quiet)
    serve.run(Served.bind(), blocking=True, logging_config=quiet)
