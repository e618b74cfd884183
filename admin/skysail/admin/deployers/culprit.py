"""Which part of a value keeps it from being pickled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import CodeType, ModuleType
from typing import Any

__all__ = ["culprit"]

_DEEPEST = 50


def culprit(value: object, pickle: Callable[[object], object]) -> str:
    """The path to what is to blame, such as ``model.client.lock, a lock``; empty when `value` is to blame as a whole.

    Args:
        value: that cannot be pickled.
        pickle: raises for what cannot be.
    """
    path: list[str] = []
    while len(path) < _DEEPEST and (found := _failing_part(value, pickle)) is not None:
        name, value = found
        path.append(name)
    return f"{'.'.join(path)}, a {type(value).__qualname__}" if path else ""


def _failing_part(value: object, pickle: Callable[[object], object]) -> tuple[str, object] | None:
    for name, part in _parts(value).items():
        try:
            pickle(part)
        except Exception:  # noqa: BLE001 - the first that fails is named; why is in the error itself
            return name, part
    return None


def _parts(value: object) -> dict[str, Any]:
    """What pickling a value comes to: a function's captured variables and globals, anything else's attributes."""
    function = getattr(value, "__func__", value)  # of a method
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return {**_own(getattr(value, "__wrapped__", None)), **_attributes(value)}
    bound = {"self": value.__self__} if function is not value and hasattr(value, "__self__") else {}
    return {**bound, **_own(function)}


def _own(function: Any) -> dict[str, Any]:
    code = getattr(function, "__code__", None)
    if code is None:
        return {}
    reachable: dict[str, Any] = getattr(function, "__globals__", {})
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    captured = {name: cell.cell_contents for name, cell in cells if _filled(cell)}
    return {**captured, **{name: reachable[name] for name in _names(code) if name in reachable}}


def _names(code: CodeType) -> Iterator[str]:
    """Global names of a code object and of the code inside of it, comprehensions among it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _attributes(value: object) -> dict[str, Any]:
    """Of an instance, its class as well; of modules and classes, without what every one of them has."""
    attributes = dict(getattr(value, "__dict__", {}))
    if not isinstance(value, ModuleType | type):
        return {**attributes, type(value).__qualname__: type(value)}
    return {name: part for name, part in attributes.items() if not name.startswith("__") or callable(part)}


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - raises for a variable that has no value yet
    except ValueError:
        return False
    return True
