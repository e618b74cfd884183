"""`python -m benchmarks [PART …]`: `serving`, `mosec`, `embedded`, `rest`, `batching`.

Without a part: `serving`, `rest` and `batching`.
"""

from __future__ import annotations

import argparse

__all__ = ["main"]

_PARTS = ("serving", "mosec", "embedded", "rest", "batching")


def main() -> None:
    """Run the parts that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*_PARTS, []], help="what to measure", default=[])
    parser.add_argument("--repeats", type=int, default=3, help="interleaved repeats of each server (default 3)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of load at each point (default 5)")
    arguments = parser.parse_args()
    for part in arguments.parts or ("serving", "rest", "batching"):
        _run(part, repeats=arguments.repeats, seconds=arguments.seconds)


def _run(part: str, *, repeats: int, seconds: float) -> None:
    from benchmarks.batching import batch_under_load
    from benchmarks.resting import rest
    from benchmarks.serving import compare

    match part:
        case "rest":
            rest()
        case "batching":
            batch_under_load()
        case "mosec":
            compare(["skysail", "mosec"], repeats=repeats, seconds=seconds)
        case "embedded":
            compare(["skysail-embedded", "skysail", "mosec", "fastapi"], repeats=repeats, seconds=seconds)
        case _:
            compare(["skysail", "mosec", "fastapi"], repeats=repeats, seconds=seconds)


if __name__ == "__main__":
    main()
