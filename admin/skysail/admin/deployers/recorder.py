"""A pickler that notes which modules the pickle will import."""

from __future__ import annotations

import dis
import pickle
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import IO, Any

import cloudpickle

__all__ = ["RecordingPickler"]


class RecordingPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Pickles as cloudpickle does.

    Attributes:
        modules: names of the modules of every function, class and module object that was pickled.
        imports: names of the modules that the code of pickled functions imports when it is called.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.modules: set[str] = set()
        self.imports: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Called by the pickler with every object that is not of a plain built-in type."""
        if isinstance(obj, ModuleType):
            self.modules.add(obj.__name__)
        elif isinstance(obj, type | FunctionType | BuiltinFunctionType):
            if isinstance(obj.__module__, str):
                self.modules.add(obj.__module__)
        elif isinstance(obj, CodeType):
            self.imports |= _imports(obj)
        return super().reducer_override(obj)


def _imports(code: CodeType) -> set[str]:
    """Absolute imports of a code object; the code that it holds is pickled on its own."""
    names: set[str] = set()
    level: Any = 0
    previous: list[dis.Instruction] = []
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME" and len(previous) > 1:
            level = previous[-2].argval  # pushed before the names that are imported
            if level == 0:
                names.add(str(instruction.argval))
        previous.append(instruction)
    return names
