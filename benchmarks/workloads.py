"""The models that are served, the same file for every server, and the inputs that are sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC, LinearSVC

from benchmarks.bodies import BODIES
from benchmarks.peers.model import Predict, gather, load
from benchmarks.training import Rows, fit_digits, fit_wide, stand_in, write_blobs, write_network

__all__ = ["CACHE", "WORKLOADS", "Workload"]

CACHE = Path(__file__).parents[1] / ".cache" / "bench"

_OURS = ("skysail", "skysail-embedded")
_BATCHING = ("mosec", "mlserver", "litserve", "bentoml", "ray", "pytriton")
_MOSEC_SETTINGS = ("mosec-0", "mosec-5", "mosec-10")
_EVERYBODY = (*_OURS, *_BATCHING, *_MOSEC_SETTINGS, "kserve", "fastapi")


@dataclass(frozen=True)
class Workload:
    """A model, saved once, and rows to ask it for.

    name: also the model's in Skysail.
    make: writes the model file and returns the rows.
    suffix: of the model file.
    input_type: what a row is, in Skysail's and Clipper's words.
    datatype: of a row's elements, in the Open Inference Protocol's.
    columns: elements of a row.
    servers: that are compared on it unless others are named; any can run it.
    """

    name: str
    make: Callable[[Path], Rows]
    suffix: str = ".joblib"
    input_type: str = "doubles"
    datatype: str = "FP64"
    columns: int = 64
    servers: tuple[str, ...] = (*_OURS, "mosec", "fastapi")

    @property
    def model_path(self) -> Path:
        """Where the fitted model is, for every server to load."""
        return CACHE / "models" / f"{self.name}{self.suffix}"

    @property
    def bodies_path(self) -> Path:
        """One JSON request body of the plain form a line."""
        return self.bodies("plain")

    def bodies(self, form: str) -> Path:
        """The same in another form of `benchmarks.bodies`."""
        suffix = "bodies" if form == "plain" else f"{form}.bodies"
        return CACHE / "models" / f"{self.name}.{suffix}"

    def prepare(self) -> None:
        """Make and save the model and the bodies."""
        self.model_path.parent.mkdir(parents=True, exist_ok=True)
        rows = self.make(self.model_path)
        for form, body in BODIES.items():
            with self.bodies(form).open("w") as file:
                file.writelines(json.dumps(body(row, self.datatype)) + "\n" for row in rows)

    def load(self) -> Any:
        """The fitted estimator, of a workload that has one."""
        import joblib

        return joblib.load(self.model_path)

    def predictor(self) -> Predict:
        """The model's function, of a batch."""
        return load(self.model_path)

    def first_output(self) -> Any:
        """What the model returns for the first of the bodies: every server must answer the same."""
        with self.bodies_path.open() as file:
            row = json.loads(file.readline())["input"]
        return self.predictor()(gather([row]))[0]


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "logistic",
            partial(fit_digits, estimator=LogisticRegression(max_iter=2000)),
            servers=(*_EVERYBODY, "asgi-echo"),
        ),
        Workload(
            "forest",
            partial(fit_digits, estimator=RandomForestClassifier(100, random_state=0, n_jobs=1)),
            servers=_EVERYBODY,
        ),
        Workload("linear-svm", partial(fit_wide, estimator=LinearSVC(random_state=0)), columns=784),
        Workload("kernel-svm", partial(fit_wide, estimator=SVC()), columns=784),
        Workload(
            "no-op",
            partial(stand_in, kind="no-op"),
            ".json",
            columns=784,
            servers=(*_OURS, "mosec", "fastapi", "asgi-echo"),
        ),
        Workload(
            "onnx",
            write_network,
            ".onnx",
            input_type="floats",
            datatype="FP32",
            columns=3 * 64 * 64,
            servers=("skysail", "mosec", "mlserver", "litserve", "pytriton", "fastapi"),
        ),
        Workload(
            "sleep",
            partial(stand_in, kind="sleep", fixed_ms=4, per_row_ms=0.02),
            ".json",
            columns=784,
            servers=("skysail", *_BATCHING, "fastapi"),
        ),
        Workload(
            "payload-1mb",
            partial(write_blobs, encoded_bytes=2**20),
            ".json",
            input_type="bytes",
            datatype="BYTES",
            columns=1,
            servers=("skysail", "mosec", "fastapi", "asgi-echo"),
        ),
    )
}
