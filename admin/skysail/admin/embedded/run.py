"""The stack as a process: `skysail up`, and `python -m skysail.admin.embedded.run`, which `--detach` starts."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from shlex import quote
from typing import Any

import msgspec

from skysail.admin.embedded.options import ERROR_PREFIX, StackOptions
from skysail.admin.embedded.redaction import without_password
from skysail.admin.embedded.stack import Stack
from skysail.admin.embedded.state import UpInfo, default_state
from skysail.topics.errors import SkysailError
from skysail.topics.logs import configure

__all__ = ["announce", "main", "run_stack"]


def announce(info: UpInfo, state: Path) -> str:
    """What people are told once all parts answer."""
    lines = [
        f"Skysail is up (pid {info.pid}).",
        f"  predict   {info.frontend}/<application>/predict   docs {info.frontend}/docs",
        f"  admin     {info.admin}/docs",
        f"  kafka     {info.kafka}{'  (embedded)' if info.embedded_broker else ''}",
        f"  redis     {without_password(info.redis)}{'  (embedded)' if info.embedded_store else ''}",
    ]
    if info.embedded_broker:
        lines += [
            "The embedded broker keeps records in memory only: queries in flight do not survive `skysail down`.",
            "It forgets nothing until then and slows down after some 80,000 queries; --kafka names a broker of yours.",
        ]
    if state.absolute() != default_state().absolute():
        lines.append(
            f"For `skysail deploy` and the others to find it and its key: export SKYSAIL_STATE={quote(str(state))}"
        )
    return "\n".join(lines)


def run_stack(options: StackOptions) -> int:
    """Run in the foreground; returns the exit status."""
    configure("info", "text")

    def ready(info: UpInfo) -> None:
        sys.stdout.write(announce(info, options.state) + "\n")
        sys.stdout.flush()

    try:
        asyncio.run(Stack(options, ready).run())
    except SkysailError as error:
        sys.stderr.write(f"{ERROR_PREFIX}{error}\n")
        return 1
    return 0


def main() -> None:
    """Options come as JSON on standard input."""

    def path(kind: Any, value: Any) -> Any:
        return kind(value) if kind is Path else value

    sys.exit(run_stack(msgspec.json.decode(sys.stdin.buffer.read(), type=StackOptions, dec_hook=path)))


if __name__ == "__main__":
    main()
