"""Checks of the figures that a setting or a caller gives, with errors that name the figure and its range."""

from __future__ import annotations

import math

__all__ = ["above_zero", "at_least", "check_batch", "share"]


def at_least(name: str, value: int, least: int) -> int:
    """``value``, if it is at least ``least``; ValueError otherwise."""
    if value < least:
        msg = f"{name} must be at least {least}; it is {value}"
        raise ValueError(msg)
    return value


def above_zero(name: str, value: float) -> float:
    """``value``, if it is above 0 and finite; ValueError otherwise."""
    if not 0 < value < math.inf:
        msg = f"{name} must be above 0 and finite; it is {value}"
        raise ValueError(msg)
    return value


def share(name: str, value: float, *, one_allowed: bool = False) -> float:
    """``value``, if it lies between 0 and 1, 1 itself only where allowed; ValueError otherwise."""
    if not (0 < value < 1 or (one_allowed and value == 1)):
        msg = f"{name} must lie between 0 and 1; it is {value}"
        raise ValueError(msg)
    return value


def check_batch(rows: int, duration_s: float) -> None:
    """Raises ValueError unless a finished batch can have held so many rows and taken so many seconds."""
    if rows < 1 or not 0 <= duration_s < math.inf:
        msg = f"a batch holds at least one row and takes a finite time; rows={rows}, duration_s={duration_s}"
        raise ValueError(msg)
