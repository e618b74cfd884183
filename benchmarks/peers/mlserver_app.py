"""A runtime of MLServer with the workload's model; `settings.json` and `model-settings.json` are written at start."""

import os

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput
from model import gather, load


class Served(MLModel):
    async def load(self) -> bool:
        self.predict_batch = load(os.environ["MODEL"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tensor = payload.inputs[0]
        batch = gather(tensor.data.root) if tensor.datatype == "BYTES" else NumpyCodec.decode_input(tensor)
        outputs = self.predict_batch(batch)
        answer = ResponseOutput(name="output", shape=[len(outputs)], datatype="INT64", data=outputs)
        return InferenceResponse(model_name=self.name, outputs=[answer])
