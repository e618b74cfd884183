"""A pickler that notes which modules the pickle will import."""

from __future__ import annotations

import dis
import functools
import pickle
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import IO, Any

import cloudpickle

__all__ = ["RecordingPickler"]


_LRU_CACHE = type(functools.lru_cache(abs))


class RecordingPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Pickles as cloudpickle does, and by value two more that it cannot: `lru_cache` and `cached_property`.

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
        elif isinstance(obj, _LRU_CACHE):
            self.modules.add(str(obj.__module__))
            return _reduce_cached(obj)
        elif isinstance(obj, functools.cached_property):
            # Before Python 3.12 it holds a lock.
            return functools.cached_property, (obj.func,), {"attrname": obj.attrname, "__doc__": obj.__doc__}
        return super().reducer_override(obj)


def _reduce_cached(function: Any) -> Any:
    """As the function beneath and the size of its cache, which begins empty; by name where it is installed."""
    if _is_found_elsewhere(function):
        return NotImplemented
    limits = function.cache_parameters()
    return _cached, (function.__wrapped__, limits["maxsize"], limits["typed"])


def _is_found_elsewhere(function: Any) -> bool:
    """Whether another process finds it by its name: not in the user's script, a function, or a module by value."""
    name = function.__module__
    if name in {None, "__main__"} or name in cloudpickle.list_registry_pickle_by_value():
        return False
    found: Any = sys.modules.get(name)
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is function


def _cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:  # noqa: FBT001 - in a pickle
    from functools import lru_cache

    return lru_cache(maxsize, typed)(function)


_cached.__module__ = "__main__"  # so that it is pickled by value: a worker need not have this module


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
