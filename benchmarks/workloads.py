"""The models that are served, the same file for every server, and the inputs that are sent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

__all__ = ["WORKLOADS", "Workload"]

CACHE = Path(__file__).parents[1] / ".cache" / "bench"
_HELD_OUT = 500


@dataclass(frozen=True)
class Workload:
    """A model on the 64-float digits, saved once, and held-out rows to ask it for."""

    name: str
    estimator: Any

    @property
    def model_path(self) -> Path:
        """Where the fitted model is, for every server to load."""
        return CACHE / "models" / f"{self.name}.joblib"

    @property
    def bodies_path(self) -> Path:
        """One JSON request body a line."""
        return CACHE / "models" / f"{self.name}.bodies"

    def prepare(self) -> None:
        """Train and save the model and the bodies."""
        inputs, labels = load_digits(return_X_y=True)
        self.model_path.parent.mkdir(parents=True, exist_ok=True)
        joblib.dump(self.estimator.fit(inputs[:-_HELD_OUT], labels[:-_HELD_OUT]), self.model_path)
        rows = (json.dumps({"input": row}) for row in inputs[-_HELD_OUT:].tolist())
        self.bodies_path.write_text("\n".join(rows) + "\n")

    def load(self) -> Any:
        """The fitted model."""
        return joblib.load(self.model_path)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("logistic", LogisticRegression(max_iter=2000)),
        Workload("forest", RandomForestClassifier(100, random_state=0, n_jobs=1)),
    )
}
