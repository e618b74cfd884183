"""Servers that one test has to itself, because it breaks them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Generic, TypeVar

from tests.services.requirement import require
from tests.services.service import Service

__all__ = ["Factory", "factory_of"]

S = TypeVar("S", bound=Service)


class Factory(Generic[S]):
    """Called, it starts one more server; all of them end with the test."""

    def __init__(self, make: Callable[..., S], stack: ExitStack) -> None:
        self.services: list[S] = []
        self._make = make
        self._stack = stack

    def __call__(self, **options: object) -> S:
        """Starts a server of the factory's kind, made with these options, and waits until it is ready."""
        service = self._make(**options)
        self.services.append(service)
        self._stack.enter_context(service)
        return service


@contextmanager
def factory_of(kind: type[S]) -> Iterator[Factory[S]]:
    """A factory whose servers end with the block; the test is skipped where they cannot run."""
    require(kind)
    with ExitStack() as stack:
        yield Factory(kind, stack)
