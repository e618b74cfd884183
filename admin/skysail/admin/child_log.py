"""A child's log file: appended to over restarts, bounded, and read from its end."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import IO

import structlog

__all__ = ["LARGEST_LOG_BYTES", "bound_log", "is_large", "log_size", "log_tail", "open_log"]

_log = structlog.get_logger(__name__)

#: A log takes twice as much of the disk: itself, and the one before it, which ends in ``.1``.
LARGEST_LOG_BYTES = 32 * 1024 * 1024
_LONGEST_LINE_BYTES = 1000


def open_log(path: Path) -> IO[bytes]:
    """Open a log for a child to append to. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


def log_size(path: Path) -> int:
    """Bytes of a log; 0 when there is none."""
    return path.stat().st_size if path.exists() else 0


def is_large(path: Path, largest_bytes: int = LARGEST_LOG_BYTES) -> bool:
    """Whether a log has grown beyond its bound."""
    return log_size(path) > largest_bytes


def bound_log(path: Path) -> None:
    """Put a log's text aside and let it begin anew, while its child goes on appending; blocking.

    The child keeps its open file, so the text is copied and the file emptied; a line written in between is lost. Where
    there is no room for a copy there is none.
    """
    try:
        shutil.copyfile(path, path.with_suffix(f"{path.suffix}.1"))
    except OSError as error:
        _log.warning("log_not_put_aside", log=str(path), error=str(error), action="emptied all the same")
    with path.open("r+b") as file:
        file.truncate()


def log_tail(path: Path, lines: int, since_bytes: int = 0) -> str:
    """The last lines of a log; empty when there is none.

    Args:
        path: of the log.
        lines: at most so many.
        since_bytes: what was written before this place is left out, unless the log has been put aside since.
    """
    size = log_size(path)
    if size == 0:
        return ""
    begin = since_bytes if since_bytes <= size else 0
    with path.open("rb") as file:
        file.seek(max(begin, size - lines * _LONGEST_LINE_BYTES))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
