"""Query ids: UUID version 7 (RFC 9562), which sort by time and need no coordination."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

__all__ = ["Uuid7Generator"]


class Uuid7Generator:
    """Makes UUIDv7 strings: 48 bits of unix milliseconds, a 12 + 30 bit counter, 32 bits drawn once.

    RFC 9562 §6.2 method 1 (fixed-length dedicated counter). Reading the kernel's random pool for each id would
    cost more than the rest of the id together, so a generator draws at start and counts from there; two generators
    differ in 74 random bits.
    """

    __slots__ = ("_clock_ns", "_count", "_tail")

    def __init__(
        self,
        clock_ns: Callable[[], int] = time.time_ns,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        seed = random_bytes(10)
        self._clock_ns = clock_ns
        self._count = int.from_bytes(seed[:6], "big")
        self._tail = seed[6:].hex()

    def __call__(self) -> str:
        """The next id, such as ``01932c07-209d-7a3e-8b6a-4f2d9c1e7a55``."""
        count = self._count = (self._count + 1) & 0x3FF_FFFF_FFFF
        ms = self._clock_ns() // 1_000_000
        return "%08x-%04x-%04x-%04x-%04x%s" % (  # noqa: UP031 - half the time of an f-string with as many parts
            ms >> 16,
            ms & 0xFFFF,
            0x7000 | (count >> 30),
            0x8000 | ((count >> 16) & 0x3FFF),
            count & 0xFFFF,
            self._tail,
        )
