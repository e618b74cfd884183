"""Fixtures of the tests of `skysail.frontend`."""

from __future__ import annotations

from hypothesis import settings

from tests.frontend.fixtures import frontend, make_stage, served

__all__ = ["frontend", "make_stage", "served"]

# A machine that runs a JVM beside the tests stalls now and then; an example's duration says nothing about the code.
settings.register_profile("skysail", deadline=None)
settings.load_profile("skysail")
