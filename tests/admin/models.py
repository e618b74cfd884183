"""Models that tests deploy. Their code travels with the artifact, by value."""

from __future__ import annotations

import os
import time
from typing import Any

__all__ = ["count", "doubled", "fails_to_load", "kills_its_process", "waits"]


def count(inputs: list[str]) -> list[int]:
    """Length of each text."""
    return [len(text) for text in inputs]


def doubled(inputs: Any) -> Any:
    """Twice each row's sum."""
    return inputs.sum(axis=1) * 2


class fails_to_load:  # noqa: N801 - stands where a function does
    """A predict function that cannot be unpickled where its module is missing."""

    def __call__(self, inputs: list[str]) -> list[str]:
        """Never gets so far."""
        return inputs

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Loading it runs an import."""
        return __import__, ("a_module_that_no_worker_has",)


class kills_its_process:  # noqa: N801
    """A predict function that ends the process that unpickles it, as a broken native library would."""

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        """Loading it ends the process."""
        return os.abort, ()  # type: ignore[return-value]

    def __call__(self, inputs: list[str]) -> list[str]:
        """Never gets so far."""
        return inputs


def waits(seconds: float) -> Any:
    """A model that takes that long for each batch."""

    def predict(inputs: list[str]) -> list[str]:
        time.sleep(seconds)
        return inputs

    return predict
