"""Mosec serving the workload's model. Port and time limit are arguments of Mosec's own."""

import os

from model import gather, load
from mosec import Server, Worker


class Model(Worker):
    def __init__(self):
        self.predict = load(os.environ["MODEL"])

    def forward(self, data):
        return [{"output": output} for output in self.predict(gather([body["input"] for body in data]))]


if __name__ == "__main__":
    server = Server()
    server.append_worker(
        Model, num=1, max_batch_size=int(os.environ["MAX_BATCH"]), max_wait_time=int(os.environ["WAIT_MS"])
    )
    server.run()
