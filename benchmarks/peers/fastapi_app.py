"""A plain FastAPI application around the workload's model: what most people write first."""

import os

import joblib
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

model = joblib.load(os.environ["MODEL"])
app = FastAPI()


class Body(BaseModel):
    input: list[float]


@app.post("/predict")
def predict(body: Body) -> dict[str, int]:
    return {"output": int(model.predict(np.asarray([body.input]))[0])}
