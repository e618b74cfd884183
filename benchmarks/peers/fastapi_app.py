"""A plain FastAPI application around the workload's model: what most people write first."""

import os

from fastapi import FastAPI
from model import gather, load
from pydantic import BaseModel

predict_batch = load(os.environ["MODEL"])
app = FastAPI()
Input = str if os.environ["DATATYPE"] == "BYTES" else list[float]


class Body(BaseModel):
    input: Input


@app.post("/predict")
def predict(body: Body) -> dict[str, int]:
    return {"output": predict_batch(gather([body.input]))[0]}
