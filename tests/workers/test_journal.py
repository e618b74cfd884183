from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skysail.workers.journal import BatchJournal, CrashLedger, RecordId, Verdict, crash_key

RECORDS: list[RecordId] = [("queries", 0, 7), ("queries", 1, 2**40), ("queries.v2", 0, 1)]

#: Begins a batch of argv[3] records a given number of times, then dies as argv[2] says.
CHILD = """
import ctypes, os, signal, sys
from skysail.workers.journal import BatchJournal

journal = BatchJournal(sys.argv[1])
journal.open()
for batch in range(3):
    journal.begin([("earlier", batch, 1)])
    journal.clear()
journal.begin([("queries", 3, offset) for offset in range(int(sys.argv[3]))])
match sys.argv[2]:
    case "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    case "segfault":
        ctypes.string_at(0)
    case "after":
        journal.clear()
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(path: Path) -> Iterator[BatchJournal]:
    journal = BatchJournal(path)
    journal.open()
    yield journal
    journal.close()


def left_behind(path: Path) -> tuple[list[RecordId], str | None]:
    """What the next process reads, and the damage that it finds."""
    journal = BatchJournal(path)
    journal.open()
    records = journal.read_left_behind()
    journal.close()
    return records, journal.damage


def run_child(path: Path, end: str, records: int) -> int:
    """The exit status of a child that dies as `end` says: minus the signal's number."""
    command = [sys.executable, "-X", "faulthandler=0", "-c", CHILD, str(path), end, str(records)]
    return subprocess.run(command, check=False, capture_output=True, timeout=30).returncode


@pytest.mark.parametrize(("end", "number"), [("kill", signal.SIGKILL), ("segfault", signal.SIGSEGV)])
@pytest.mark.parametrize("records", [1, 5000])
def test_a_process_that_is_killed_leaves_its_batch_behind(
    path: Path, end: str, number: signal.Signals, records: int
) -> None:
    assert run_child(path, end, records) == -number
    assert left_behind(path) == ([("queries", 3, offset) for offset in range(records)], None)


def test_a_process_that_is_killed_between_batches_leaves_nothing_behind(path: Path) -> None:
    assert run_child(path, "after", 10) == -signal.SIGKILL
    assert left_behind(path) == ([], None)


def test_a_new_journal_has_nothing_left_behind(path: Path) -> None:
    assert left_behind(path) == ([], None)


def test_reading_changes_nothing_until_the_next_process_clears(path: Path, journal: BatchJournal) -> None:
    journal.begin(RECORDS)
    assert left_behind(path) == (RECORDS, None)
    assert left_behind(path) == (RECORDS, None)
    journal.clear()
    assert left_behind(path) == ([], None)


@given(st.lists(st.lists(st.tuples(st.text(max_size=300), st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1)))))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_the_note_is_always_of_the_last_batch(path: Path, batches: list[list[RecordId]]) -> None:
    journal = BatchJournal(path)
    journal.open()
    journal.clear()
    for batch in batches:
        journal.begin(batch)
        assert journal.read_left_behind() == batch
    journal.close()
    assert left_behind(path) == (batches[-1] if batches else [], None)


def test_the_file_grows_with_a_batch_and_is_not_cut_when_opened_again(path: Path, journal: BatchJournal) -> None:
    before = path.stat().st_size
    large: list[RecordId] = [("queries", 0, offset) for offset in range(50_000)]
    journal.begin(large)
    assert path.stat().st_size > before
    assert left_behind(path) == (large, None)
    journal.begin(RECORDS)
    assert left_behind(path) == (RECORDS, None)


def written(path: Path) -> bytes:
    """The file of a journal in the middle of a batch; of its free space, a little."""
    journal = BatchJournal(path)
    journal.open()
    journal.begin(RECORDS)
    journal.close()
    return path.read_bytes()[:200]


def noted_bytes(content: bytes) -> int:
    """Where the note ends in a journal's file."""
    return 16 + int.from_bytes(content[8:12], "little")


def test_a_flipped_bit_anywhere_in_the_note_is_found(path: Path) -> None:
    content = written(path)
    for bit in range(8 * noted_bytes(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        records, damage = left_behind(path)
        assert (records, bool(damage)) == ([], True), bit
        assert left_behind(path) == ([], None)


def test_a_flipped_bit_never_turns_an_empty_note_into_records(path: Path) -> None:
    BatchJournal(path).open()
    content = path.read_bytes()[:200]
    for bit in range(8 * 16):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        records, damage = left_behind(path)
        assert (records, bool(damage)) == ([], True), bit


def test_a_truncated_file_is_found(path: Path) -> None:
    content = written(path)
    for length in range(1, noted_bytes(content)):
        path.write_bytes(content[:length])
        records, damage = left_behind(path)
        assert (records, bool(damage)) == ([], True), length


def test_an_empty_file_is_a_new_journal(path: Path) -> None:
    path.touch()
    assert left_behind(path) == ([], None)


@given(content=st.binary(min_size=1, max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_a_foreign_file_is_reported_and_made_anew(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    records, damage = left_behind(path)
    assert records == []
    assert damage is not None
    assert left_behind(path) == ([], None)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda content: b"x" + content[1:], "does not start as a journal does"),
        (lambda content: content[:8] + b"\xff\xff\xff\x00" + content[12:], "should have 16777215 bytes"),
        (lambda content: content[:20] + b"\x00" + content[21:], "checksum"),
    ],
)
def test_the_reason_of_the_damage_is_given(path: Path, spoil: type, reason: str) -> None:
    path.write_bytes(spoil(written(path)))
    _, damage = left_behind(path)
    assert damage is not None
    assert reason in damage


def test_a_damaged_journal_is_usable_at_once(path: Path) -> None:
    path.write_bytes(b"nonsense")
    journal = BatchJournal(path)
    journal.open()
    assert journal.read_left_behind() == []
    journal.begin(RECORDS)
    journal.close()
    assert left_behind(path) == (RECORDS, None)


def test_a_journal_that_is_not_open_says_so(path: Path) -> None:
    journal = BatchJournal(path)
    for use in (journal.clear, journal.read_left_behind, lambda: journal.begin(RECORDS)):
        with pytest.raises(RuntimeError, match="the journal is not open"):
            use()
    assert not path.exists()
    journal.close()


def test_a_missing_folder_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        BatchJournal(tmp_path / "none" / "journal").open()


# --- what follows from a crash ----------------------------------------------------------------------------------------


def test_a_record_that_never_ran_in_a_crash_is_batched() -> None:
    assert CrashLedger().verdict(RECORDS[0]) is Verdict.TOGETHER
    assert CrashLedger({crash_key(RECORDS[1]): 1}).verdict(RECORDS[0]) is Verdict.TOGETHER


def test_a_suspect_runs_alone_and_at_the_limit_it_is_dead_lettered() -> None:
    ledger = CrashLedger(limit=3)
    verdicts = []
    for _ in range(4):
        ledger.note_crash([RECORDS[0]])
        verdicts.append(ledger.verdict(RECORDS[0]))
    assert verdicts == [Verdict.ALONE, Verdict.ALONE, Verdict.DEAD_LETTER, Verdict.DEAD_LETTER]


def test_the_counts_go_from_one_process_to_the_next() -> None:
    first = CrashLedger()
    assert first.note_crash(RECORDS) == {crash_key(record): 1 for record in RECORDS}
    second = CrashLedger(first.counts)
    assert second.note_crash(RECORDS[:1]) == {"queries/0/7": 2}
    assert [second.crashes(record) for record in RECORDS] == [2, 1, 1]
    assert first.crashes(RECORDS[0]) == 1


def test_a_record_whose_outcome_is_stored_is_forgotten() -> None:
    ledger = CrashLedger({"queries/0/7": 2})
    assert ledger.settle(RECORDS[0])
    assert not ledger.settle(RECORDS[0])
    assert dict(ledger.counts) == {}
    assert ledger.verdict(RECORDS[0]) is Verdict.TOGETHER


def test_a_limit_that_would_condemn_the_innocent_is_refused() -> None:
    with pytest.raises(ValueError, match="limit must be at least 2; it is 1"):
        CrashLedger(limit=1)


@given(st.integers(1, 40), st.data())
@settings(max_examples=80, deadline=None)
def test_only_the_culprits_are_dead_lettered_and_all_others_end(count: int, data: st.DataObject) -> None:
    """Process after process, as a worker does it: batch what is unsuspected, run suspects alone, count crashes."""
    culprits = data.draw(st.sets(st.integers(0, count - 1), max_size=4))
    cap = data.draw(st.integers(1, count))
    records: list[RecordId] = [("queries", 0, offset) for offset in range(count)]
    stored: dict[str, int] = {}
    waiting = list(records)
    answered: set[RecordId] = set()
    dead: set[RecordId] = set()
    crashes = 0
    while waiting:
        ledger = CrashLedger(stored)
        while waiting:
            verdict = ledger.verdict(waiting[0])
            size = 1
            if verdict is Verdict.TOGETHER:
                size = next((n for n, record in enumerate(waiting[:cap]) if ledger.verdict(record) is not verdict), cap)
            batch = waiting[:size]
            if verdict is not Verdict.DEAD_LETTER and any(offset in culprits for _, _, offset in batch):
                stored |= ledger.note_crash(batch)
                crashes += 1
                break
            (dead if verdict is Verdict.DEAD_LETTER else answered).update(batch)
            waiting = waiting[size:]
    assert dead == {records[culprit] for culprit in culprits}
    assert answered == set(records) - dead
    assert crashes <= 3 * len(culprits)
