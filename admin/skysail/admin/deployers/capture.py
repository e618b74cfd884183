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
from typing import Any

import cloudpickle
import msgspec

from skysail.admin.deployers.culprit import culprit
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
    try:
        return _pickled(value)
    except Exception as error:
        blamed = culprit(value, _pickled)
        why = f" (because of {blamed})" if blamed else ""
        message = f"{_describe(value)} cannot be pickled: {type(error).__name__}: {error}{why}"
        raise ArtifactError(message) from error


def _pickled(value: object) -> tuple[RecordingPickler, bytes]:
    file = io.BytesIO()
    recorder = RecordingPickler(file)
    recorder.dump(value)
    return recorder, file.getvalue()


def _describe(value: object) -> str:
    return str(getattr(value, "__qualname__", type(value).__qualname__))


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
