"""A worker's state folder: what must outlive the process, for the process that follows it."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from skysail.topics.errors import ConflictError
from skysail.workers.journal import BatchJournal

__all__ = ["StateFolder"]


class StateFolder:
    """The folder, held by one process at a time.

    Args:
        path: of the folder; made if it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = -1

    def open(self) -> BatchJournal:
        """Take the folder and open the journal in it.

        Raises:
            ConflictError: when another running worker has it.
            OSError: when it cannot be made or written.
        """
        self._path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # A record lock rather than flock: processes that the model forks do not inherit it.
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            message = f"the state folder {self._path} is in use by another worker; give each one its own"
            raise ConflictError(message) from None
        journal = BatchJournal(self._path / "journal")
        journal.open()
        return journal

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
