"""What a predict function needs elsewhere: itself, the user's own modules by value, the distributions it imports."""

from __future__ import annotations

import pickle
import pickletools
import site
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from skysail.topics.artifacts import Environment
from skysail.topics.errors import ArtifactError

__all__ = ["capture", "environment_of", "round_trip"]

_OWN = "skysail"
_ROUNDS = 50


def capture(value: object) -> bytes:
    """Pickle a function or a model with every module of the user's own that it reaches, by value.

    A worker has the installed distributions, not the user's project; so modules that lie outside of site-packages and
    the standard library travel with the pickle. Which those are is read off the pickle itself, until none is new.

    Raises:
        ArtifactError: naming what cannot be pickled.
    """
    found: set[str] = set()
    for _ in range(_ROUNDS):
        with _by_value(found):
            data = _dump(value)
        fresh = {name for name in _modules_named(data) if _is_local(sys.modules[name])} - found
        if not fresh:
            return data
        found |= fresh
    message = f"the modules that the function reaches do not come to an end: {', '.join(sorted(found))}"
    raise ArtifactError(message)


def _dump(value: object) -> bytes:
    try:
        return bytes(cloudpickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))
    except Exception as error:
        message = f"{_describe(value)} cannot be pickled: {type(error).__name__}: {error}{_culprit(value)}"
        raise ArtifactError(message) from error


def _describe(value: object) -> str:
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def _culprit(value: object) -> str:
    """Which captured variable is to blame, where one alone cannot be pickled either."""
    code, closure = getattr(value, "__code__", None), getattr(value, "__closure__", None) or ()
    captured = dict(zip(code.co_freevars, (cell.cell_contents for cell in closure), strict=True)) if code else {}
    reachable = {name: value.__globals__[name] for name in code.co_names if name in value.__globals__} if code else {}  # type: ignore[attr-defined]
    for name, part in {**captured, **reachable, **getattr(value, "__dict__", {})}.items():
        try:
            cloudpickle.dumps(part)
        except Exception:  # noqa: BLE001 - the first that fails is named; why is in the error itself
            return f" (because of {name!r}, a {type(part).__qualname__})"
    return ""


@contextmanager
def _by_value(names: set[str]) -> Iterator[None]:
    known = cloudpickle.list_registry_pickle_by_value()
    modules = [sys.modules[name] for name in names if name not in known]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _modules_named(data: bytes) -> set[str]:
    """Loaded modules whose names stand in a pickle: everything that it will import."""
    texts = {argument for _, argument, _ in pickletools.genops(data) if isinstance(argument, str)}
    # Protocols before 4 write "module name" in one argument.
    return {text for text in texts | {text.partition(" ")[0] for text in texts} if text in sys.modules}


def _is_local(module: ModuleType) -> bool:
    """Whether a module is the user's own: a file outside of every installation folder."""
    path = getattr(module, "__file__", None)
    if path is None or module.__name__ == "__main__" or module.__name__.partition(".")[0] == _OWN:
        return False
    return not any(Path(path).resolve().is_relative_to(folder) for folder in _installed_folders())


@cache
def _installed_folders() -> tuple[Path, ...]:
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(
        {Path(path).resolve() for path in (*paths, *site.getsitepackages(), site.getusersitepackages()) if path}
    )


def environment_of(*pickles: bytes) -> Environment:
    """Interpreter, and the distributions that the pickles import, with their versions."""
    names = {name.partition(".")[0] for data in pickles for name in _modules_named(data)}
    by_module = metadata.packages_distributions()
    distributions = {distribution for name in names for distribution in by_module.get(name, ())} - {_OWN}
    return Environment(
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        distributions={name: metadata.version(name) for name in sorted(distributions)},
    )


def round_trip(data: bytes) -> Any:
    """What a worker will get out of a pickle."""
    return pickle.loads(data)  # noqa: S301 - made by this process a moment ago
