"""Fixtures of the compatibility tests."""

from tests.frontend.fixtures import frontend, make_stage, served

__all__ = ["frontend", "make_stage", "served"]
