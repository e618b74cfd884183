"""What a predict function needs elsewhere: itself, and the user's own modules by value."""

from __future__ import annotations

import io
import pickle
import site
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import msgspec

from skysail.admin.deployers.recorder import RecordingPickler
from skysail.topics.errors import ArtifactError

__all__ = ["Captured", "capture", "round_trip"]

_OWN = "skysail"
_ROUNDS = 50


class Captured(msgspec.Struct, frozen=True):
    """A pickle, and the names of the modules that loading or calling what is in it imports."""

    data: bytes
    modules: frozenset[str]


def capture(value: object) -> Captured:
    """Pickle a function or a model with every module of the user's own that it reaches, by value.

    A worker has the installed distributions, not the user's project; so modules that lie outside of site-packages and
    the standard library travel with the pickle. Which those are shows while pickling, module after module.

    Raises:
        ArtifactError: naming what cannot be pickled.
    """
    local: set[str] = set()
    for _ in range(_ROUNDS):
        with _by_value(local):
            recorder, data = _dump(value)
        fresh = {name for name in recorder.modules if _is_local(name)} - local
        if not fresh:
            _warn_of_inner_imports(value, recorder.imports)
            return Captured(data, frozenset(recorder.modules | recorder.imports))
        local |= fresh
    message = f"the modules that the function reaches do not come to an end: {', '.join(sorted(local))}"
    raise ArtifactError(message)


def round_trip(captured: Captured) -> Any:
    """What a worker will get out of a pickle."""
    return pickle.loads(captured.data)  # noqa: S301 - made by this process a moment ago


def _dump(value: object) -> tuple[RecordingPickler, bytes]:
    file = io.BytesIO()
    recorder = RecordingPickler(file)
    try:
        recorder.dump(value)
    except Exception as error:
        message = f"{_describe(value)} cannot be pickled: {type(error).__name__}: {error}{_culprit(value)}"
        raise ArtifactError(message) from error
    return recorder, file.getvalue()


def _describe(value: object) -> str:
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def _culprit(value: object) -> str:
    """The path to what is to blame: a captured variable or an attribute that cannot be pickled by itself either."""
    path: list[str] = []
    while (found := _unpicklable_part(value)) is not None and len(path) < _ROUNDS:
        name, value = found
        path.append(name)
    return f" (because of {'.'.join(path)}, a {type(value).__qualname__})" if path else ""


def _unpicklable_part(value: object) -> tuple[str, object] | None:
    for name, part in _parts(value).items():
        try:
            cloudpickle.dumps(part)
        except Exception:  # noqa: BLE001 - the first that fails is named; why is in the error itself
            return name, part
    return None


def _parts(value: object) -> dict[str, Any]:
    """What pickling a value comes to: a function's captured variables and globals, anything else's attributes."""
    code, cells = getattr(value, "__code__", None), getattr(value, "__closure__", None) or ()
    if code is None:
        return dict(getattr(value, "__dict__", {})) if not isinstance(value, ModuleType | type) else {}
    reachable: dict[str, Any] = getattr(value, "__globals__", {})
    captured = {name: cell.cell_contents for name, cell in zip(code.co_freevars, cells, strict=True) if _filled(cell)}
    return {**captured, **{name: reachable[name] for name in code.co_names if name in reachable}}


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - raises for a variable that has no value yet
    except ValueError:
        return False
    return True


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


def _warn_of_inner_imports(value: object, imports: set[str]) -> None:
    inner = sorted(name for name in imports if _is_local(name))
    if inner:
        text = (
            f"{_describe(value)} imports {', '.join(inner)} inside of a function: unlike an import at the top of a "
            "module, that does not travel with the pickle, and fails where the module is not installed"
        )
        warnings.warn(text, stacklevel=4)


def _is_local(name: str) -> bool:
    """Whether a module is the user's own: a file outside of every installation folder."""
    path = getattr(sys.modules.get(name), "__file__", None)
    if path is None or name == "__main__" or name.partition(".")[0] == _OWN:
        return False
    return not any(Path(path).resolve().is_relative_to(folder) for folder in _installed_folders())


@cache
def _installed_folders() -> tuple[Path, ...]:
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(
        {Path(path).resolve() for path in (*paths, *site.getsitepackages(), site.getusersitepackages()) if path}
    )
