"""A server that is missing on somebody's machine skips a test; in CI it fails one."""

import os
from collections.abc import Mapping

import pytest

from tests.services.service import Service

__all__ = ["in_ci", "require"]


def in_ci(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this is a run of CI, which sets CI=true."""
    return environment.get("CI", "").lower() in {"1", "true", "yes"}


def require(service: type[Service], environment: Mapping[str, str] = os.environ) -> None:
    """Skips the test where the server cannot be run, or fails it in CI."""
    reason = service.missing()
    if reason is None:
        return
    if in_ci(environment):
        pytest.fail(f"{service.name} is missing, and this is CI: {reason}", pytrace=False)
    pytest.skip(reason)
