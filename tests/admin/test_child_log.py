from __future__ import annotations

from pathlib import Path

import pytest

from skysail.admin.child_log import bound_log, is_large, log_size, log_tail, open_log


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "one.log"


def test_a_log_is_made_with_its_folder_and_appended_to(log: Path) -> None:
    assert log_size(log) == 0
    for line in (b"one\n", b"two\n"):
        with open_log(log) as file:
            file.write(line)
    assert log.read_text() == "one\ntwo\n"
    assert log_size(log) == 8


def test_the_tail_of_a_log_is_its_last_lines(log: Path) -> None:
    assert log_tail(log, 2) == ""
    open_log(log).close()
    assert log_tail(log, 2) == ""
    log.write_bytes(b"x" * 10_000 + b"\none\ntwo \xff\nthree\n")
    assert log_tail(log, 2) == "two \N{REPLACEMENT CHARACTER}\nthree"


def test_the_tail_of_one_run_leaves_out_what_earlier_ones_said(log: Path) -> None:
    log.parent.mkdir()
    log.write_text("of yesterday\n")
    begin = log_size(log)
    assert log_tail(log, 5, begin) == ""
    with log.open("a") as file:
        file.write("of today\n")
    assert log_tail(log, 5, begin) == "of today"
    bound_log(log)
    log.write_text("anew\n")
    assert log_tail(log, 5, begin) == "anew"


def test_who_writes_a_log_goes_on_after_it_was_put_aside(log: Path) -> None:
    with open_log(log) as file:
        file.write(b"before\n")
        file.flush()
        assert is_large(log, 6)
        bound_log(log)
        assert not is_large(log, 6)
        file.write(b"after\n")
    assert log.read_text() == "after\n"
    assert log.with_suffix(".log.1").read_text() == "before\n"


def test_a_log_that_cannot_be_copied_is_emptied_all_the_same(log: Path) -> None:
    log.parent.mkdir()
    log.write_text("too much\n")
    log.with_suffix(".log.1").mkdir()  # stands for a disk that is full
    bound_log(log)
    assert log_size(log) == 0


def test_a_log_that_is_not_there_is_not_large(log: Path) -> None:
    assert not is_large(log, 0)
