"""What a model is made with: the interpreter, and the distributions that its code really imports."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import metadata, util
from pathlib import Path

from skysail.topics.artifacts import Environment

__all__ = ["environment_of"]

_OWN = "skysail"


def environment_of(modules: Iterable[str]) -> Environment:
    """The interpreter's version, and name and version of the distributions that these modules came with."""
    by_package = metadata.packages_distributions()
    names: set[str] = set()
    for module in modules:
        candidates = set(by_package.get(module.partition(".")[0], ()))
        names |= candidates if len(candidates) == 1 else {name for name in candidates if _owns(name, module)}
    return Environment(
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        distributions={name: metadata.version(name) for name in sorted(names - {_OWN})},
    )


def _owns(distribution: str, module: str) -> bool:
    """Whether a module of a package that several distributions share is this one's."""
    try:
        spec = util.find_spec(module)
    except (ImportError, ValueError):
        return False
    if spec is None or spec.origin is None:
        return False
    origin = Path(spec.origin).resolve()
    return any(Path(str(file.locate())).resolve() == origin for file in metadata.files(distribution) or ())
