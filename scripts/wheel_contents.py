"""Fails unless a wheel installs `skysail` alone, as a namespace package, with all its parts typed and its licence.

Usage: wheel_contents.py WHEEL
"""

import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

PARTS = ("admin", "frontend", "topics", "workers")


def complaints(names: Sequence[str]) -> Iterator[str]:
    """Yields what is wrong with a wheel of these file names, one sentence each."""
    tops = {name.split("/")[0] for name in names}
    if generic := sorted(top for top in tops if top != "skysail" and not top.endswith(".dist-info")):
        yield f"installs top-level names beside skysail: {', '.join(generic)}"
    if "skysail/__init__.py" in names:
        yield "skysail/__init__.py makes a regular package of the namespace"
    for part in PARTS:
        for needed in ("__init__.py", "py.typed"):
            if f"skysail/{part}/{needed}" not in names:
                yield f"lacks skysail/{part}/{needed}"
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        yield "lacks LICENSE"
    if strays := [name for name in names if "__pycache__" in name or name.endswith((".pyc", "Dockerfile"))]:
        yield f"holds files that are no part of the packages: {', '.join(strays)}"


def main() -> int:
    """Prints each complaint about the wheel named on the command line; the exit status is 1 if there is one."""
    wheel = Path(sys.argv[1])
    with zipfile.ZipFile(wheel) as archive:
        found = list(complaints(archive.namelist()))
    for complaint in found:
        print(f"{wheel.name} {complaint}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
