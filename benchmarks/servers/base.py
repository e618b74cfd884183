"""What all servers under test have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from benchmarks.bodies import output_of
from benchmarks.processes import NotServingError, Process, first_line, wait_answer
from benchmarks.workloads import Workload
from tests.services.ports import free_port

__all__ = ["Server"]


class Server(ABC):
    """One server under test; a `with` block runs it.

    name: as results have it.
    settings: what sets it apart from others of that name.
    form: of its request bodies, see `benchmarks.bodies`.
    computes: whether it answers what the model does; the ceiling does not.
    """

    name: ClassVar[str]
    settings: ClassVar[str]
    form: ClassVar[str] = "plain"
    computes: ClassVar[bool] = True

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.port = free_port()
        self.process: Process

    @abstractmethod
    def launch(self) -> None:
        """Start it, with the workload's model."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where one row is asked for."""

    @property
    def bodies_path(self) -> Path:
        """The request bodies."""
        return self.workload.bodies(self.form)

    def versions(self) -> dict[str, str]:
        """Of the packages that the server has for itself."""
        return {}

    def ready(self) -> None:
        """Wait for the first answer, and see that it is the model's."""
        answer = wait_answer(self.process, self.url, first_line(self.bodies_path))
        if self.computes and output_of(answer) != self.workload.first_output():
            message = f"{self.name} answers {answer[:200]!r} where the model returns {self.workload.first_output()}"
            raise NotServingError(message)

    def __enter__(self) -> Self:
        try:
            self.launch()
            self.ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it."""
        if hasattr(self, "process"):
            self.process.stop()
