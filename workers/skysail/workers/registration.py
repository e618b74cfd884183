"""What a worker reads from the registry before it can do anything: its version's specification."""

from __future__ import annotations

from typing import Any

import redis
import structlog

from skysail.topics.errors import NoModelError
from skysail.topics.names import KeyNames
from skysail.topics.specs import ModelSpec, decode_spec
from skysail.topics.store.connection import STORE_DOWN
from skysail.workers.stopping import Patience

__all__ = ["read_spec"]

_log = structlog.get_logger(__name__)


def read_spec(store: redis.Redis, keys: KeyNames, model: str, version: str, patience: Patience) -> ModelSpec:
    """The specification of a version; waits while the store is away, or has lost the registry.

    Raises:
        NoModelError: when the registry is whole and has no such version.
    """
    attempt = 0
    while True:
        try:
            raw: Any = store.hget(keys.models, f"{model}/{version}")
            if raw is not None:
                return decode_spec(ModelSpec, raw)
            if store.exists(keys.epoch):
                message = f"model {model!r} has no version {version!r} in the registry"
                raise NoModelError(message)
            problem = "the registry is empty"
        except STORE_DOWN as error:
            problem = str(error)
        if attempt == 0:
            _log.warning("registry_not_read", error=problem, action="trying again")
        patience.wait(attempt)
        attempt += 1
