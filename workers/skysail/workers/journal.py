"""A crash recorder: which records were running when the worker process died, and what is done with them then.

Nothing in a process can note its own ``kill -9`` or segmentation fault, so the note is made before each predict, in
memory that outlives the process: a file mapped shared, whose pages the kernel keeps. It does not outlive the machine,
and need not: a machine's crash is not a query's fault.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import msgspec

from skysail.workers.ranges import at_least

__all__ = ["BatchJournal", "CrashLedger", "RecordId", "Verdict", "crash_key"]

#: (topic, partition, offset)
RecordId = tuple[str, int, int]

_MAGIC = b"SKYJRNL1"
#: Length and checksum of the body, after the magic.
_HEADER = struct.Struct("<II")
_BODY_AT = len(_MAGIC) + _HEADER.size
_FIRST_SIZE = 64 * 1024
_DECODER = msgspec.msgpack.Decoder(list[RecordId])


def _header(body: bytes) -> bytes:
    # The length is part of the checksum: a flipped length must not pass as an empty journal.
    return _HEADER.pack(len(body), zlib.crc32(body, len(body) ^ 0x5CA1AB1E))


_CLEAR = _header(b"")


class BatchJournal:
    """The note of what is running, in a file of its own: one for each worker process, kept over its restarts.

    The file holds a magic, the length and CRC-32 of a body, and the body: a MessagePack array of (topic, partition,
    offset). A note writes "nothing is running", the body, then its header, so that a kill at any moment leaves either
    the whole note or none.

    On start: `open`, `read_left_behind`, store the raised crash counts, `clear`. A crash in between finds the same note
    again and counts it twice, which errs on the safe side.

    Args:
        path: the file; its folder must exist.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._encode = msgspec.msgpack.Encoder().encode
        self._map: mmap.mmap | None = None
        self._size = 0
        #: Why `read_left_behind` could not read the file, or None.
        self.damage: str | None = None

    def open(self) -> None:
        """Maps the file, which is made if there is none. What it says is untouched.

        Raises:
            OSError: if the file cannot be made, or there is no space for it.
        """
        is_new = not self._path.exists() or self._path.stat().st_size == 0
        self._remap(_FIRST_SIZE)
        if is_new:
            self._reset()

    def close(self) -> None:
        """Unmaps the file. What it says stays; an orderly exit clears first."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def begin(self, records: Sequence[RecordId]) -> None:
        """Notes that these records are running, in place of what was noted before.

        Raises:
            OSError: if the file must grow and there is no space.
        """
        mapped = self._mapped()
        mapped[len(_MAGIC) : _BODY_AT] = _CLEAR
        body = self._encode(records)
        end = _BODY_AT + len(body)
        if end > self._size:
            self._remap(2 * end)
            mapped = self._mapped()
        mapped[_BODY_AT:end] = body
        mapped[len(_MAGIC) : _BODY_AT] = _header(body)

    def clear(self) -> None:
        """Notes that nothing is running."""
        self._mapped()[len(_MAGIC) : _BODY_AT] = _CLEAR

    def read_left_behind(self) -> list[RecordId]:
        """The records that were running when the last process on this file died; none if it ended in order.

        A torn or corrupt file reads as none, with the reason in `damage`, and is made anew.
        """
        mapped = self._mapped()
        try:
            records = self._decode(mapped)
        except (ValueError, msgspec.DecodeError) as error:
            self.damage = str(error)
            self._reset()
            return []
        self.damage = None
        return records

    def _decode(self, mapped: mmap.mmap) -> list[RecordId]:
        if mapped[: len(_MAGIC)] != _MAGIC:
            msg = "the file does not start as a journal does"
            raise ValueError(msg)
        header = mapped[len(_MAGIC) : _BODY_AT]
        length, _ = _HEADER.unpack(header)
        if length > self._size - _BODY_AT:
            msg = f"the journal's body should have {length} bytes and the file has room for {self._size - _BODY_AT}"
            raise ValueError(msg)
        body = mapped[_BODY_AT : _BODY_AT + length]
        if _header(body) != header:
            msg = f"the checksum of the journal's body ({length} bytes) does not match"
            raise ValueError(msg)
        return _DECODER.decode(body) if body else []

    def _reset(self) -> None:
        mapped = self._mapped()
        mapped[:_BODY_AT] = _MAGIC + _CLEAR

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            msg = "the journal is not open"
            raise RuntimeError(msg)
        return self._map

    def _remap(self, size: int) -> None:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            size = max(size, os.fstat(file).st_size)
            _reserve(file, size)
            self.close()
            self._map = mmap.mmap(file, size)
            self._size = size
        finally:
            os.close(file)


def _reserve(file: int, size: int) -> None:
    """Grows a file to ``size`` with blocks behind it: a write to a mapped hole on a full disk ends in SIGBUS."""
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
            raise
        os.ftruncate(file, size)


class Verdict(StrEnum):
    """What to do with a record that has come (again)."""

    TOGETHER = "together"
    """It never ran in a process that crashed: batch it."""
    ALONE = "alone"
    """It may have crashed a process: run it in a batch of its own, so that a crash has one suspect."""
    DEAD_LETTER = "dead_letter"
    """It has crashed too many processes: never run it again."""


class CrashLedger:
    """How often each record was running when the process crashed, and what follows from it.

    A batch that crashes makes all its records suspects, once each; run alone from then on, only the culprit gets a
    second mark. Therefore the limit is at least 2: at 1 the innocent of the first batch would be dead-lettered.

    Args:
        counts: crashes of each record by `crash_key`, as stored by the process before.
        limit: crashes from which a record is dead-lettered (>= 2).
    """

    def __init__(self, counts: Mapping[str, int] | None = None, *, limit: int = 3) -> None:
        self._limit = at_least("limit", limit, 2)
        self._counts = dict(counts or {})

    @property
    def counts(self) -> Mapping[str, int]:
        """Crashes of each suspect by `crash_key`, to be stored."""
        return self._counts

    def note_crash(self, records: Iterable[RecordId]) -> dict[str, int]:
        """Adds a crash to each record that was running. Returns the changed counts by `crash_key`."""
        changed: dict[str, int] = {}
        for record in records:
            key = crash_key(record)
            changed[key] = self._counts[key] = self._counts.get(key, 0) + 1
        return changed

    def crashes(self, record: RecordId) -> int:
        """How often a process crashed while this record was running."""
        return self._counts.get(crash_key(record), 0) if self._counts else 0

    def verdict(self, record: RecordId) -> Verdict:
        """Whether to batch the record, to run it alone or to dead-letter it."""
        crashes = self.crashes(record)
        if crashes >= self._limit:
            return Verdict.DEAD_LETTER
        return Verdict.ALONE if crashes else Verdict.TOGETHER

    def settle(self, record: RecordId) -> bool:
        """Forgets a record whose outcome is stored. True if it was a suspect, so that the store can forget it too."""
        return bool(self._counts) and self._counts.pop(crash_key(record), None) is not None


def crash_key(record: RecordId) -> str:
    """``topic/partition/offset``; no topic's name holds a slash."""
    topic, partition, offset = record
    return f"{topic}/{partition}/{offset}"
