"""Mosec serving the workload's model."""

import os

import joblib
import numpy as np
from mosec import Server, Worker


class Model(Worker):
    def __init__(self):
        self.model = joblib.load(os.environ["MODEL"])

    def forward(self, data):
        return [{"output": int(value)} for value in self.model.predict(np.asarray([row["input"] for row in data]))]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Model, num=1, max_batch_size=64, max_wait_time=int(os.environ["WAIT_MS"]))
    server.run()
