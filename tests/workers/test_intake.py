"""What happens to a record between poll and batch."""

from __future__ import annotations

from skysail.topics.records import ConsumedRecord, Query
from skysail.workers.finished import Finished
from skysail.workers.intake import Intake
from skysail.workers.offsets import OffsetTracker
from tests.workers.samples import TOPIC, outcomes_of, query_of, record_of, values_of

NOW_MS = 1_000_000


def intake(*partitions: int) -> tuple[Intake, OffsetTracker]:
    tracker = OffsetTracker()
    made = Intake(tracker, crash_limit=3)
    made.assigned = {(TOPIC, partition) for partition in partitions or (0,)}
    return made, tracker


def records(*queries: Query) -> list[ConsumedRecord]:
    return [record_of(query, offset) for offset, query in enumerate(queries)]


def ids(works: object) -> list[str]:
    return [work.query.id for work in works]  # type: ignore[attr-defined]


def test_batches_leave_in_the_order_of_deadlines_and_hold_no_more_rows_than_the_cap() -> None:
    queue, _ = intake()
    finished = Finished()
    late, soon = query_of(1, "late", deadline_ms=NOW_MS + 900), query_of(1, "soon", deadline_ms=NOW_MS + 100)
    queue.take(records(late, soon, query_of(1, "whenever")), NOW_MS, 0, finished)
    assert queue.rows == 3
    assert ids(queue.next_batch(2, NOW_MS, 0, finished)) == ["soon", "late"]
    assert ids(queue.next_batch(2, NOW_MS, 0, finished)) == ["whenever"]
    assert not finished


def test_an_expired_query_is_finished_without_a_batch() -> None:
    queue, _ = intake()
    finished = Finished()
    queue.take(records(query_of(1, "old", deadline_ms=NOW_MS + 10), query_of(1, "new")), NOW_MS, 0, finished)
    assert ids(queue.next_batch(8, NOW_MS + 25, 0, finished)) == ["new"]
    assert outcomes_of(finished) == {"old": "expired"}
    assert b"passed by 15 ms" in values_of(finished)["old"]


def test_a_tombstone_without_headers_goes_to_the_dead_letters_and_has_no_answer() -> None:
    queue, tracker = intake()
    finished = Finished()
    queue.take([ConsumedRecord(TOPIC, 0, 7, None)], NOW_MS, 0, finished)
    assert [letter.reason for letter in finished.dead_letters] == ["undecodable"]
    assert not finished.answers
    assert tracker.outstanding == 1


def test_an_undecodable_record_that_says_who_asks_is_answered_as_well() -> None:
    queue, _ = intake()
    finished = Finished()
    headers: list[tuple[str, bytes | None]] = [
        ("skysail-id", b"q"),
        ("skysail-reply-to", b"redis:me"),
        ("content-type", b"image/png"),
    ]
    queue.take([ConsumedRecord(TOPIC, 0, 0, b"x", None, headers)], NOW_MS, 0, finished)
    assert outcomes_of(finished) == {"q": "bad_input"}
    assert b"image/png" in values_of(finished)["q"]
    assert len(finished.dead_letters) == 1


def test_a_record_of_a_partition_that_is_not_assigned_is_left_to_its_owner() -> None:
    queue, tracker = intake(1)
    queue.take(records(query_of(1)), NOW_MS, 0, Finished())
    assert not queue
    assert tracker.outstanding == 0


def test_suspects_run_alone_and_take_turns_with_the_others() -> None:
    queue, _ = intake()
    finished = Finished()
    queue.suspect({f"{TOPIC}/0/0": 1, f"{TOPIC}/0/2": 2})
    queue.take(records(*[query_of(1, f"q{i}") for i in range(5)]), NOW_MS, 0, finished)
    batches = [queue.next_batch(2, NOW_MS, 0, finished) for _ in range(4)]
    assert [ids(batch) for batch in batches] == [["q0"], ["q1", "q3"], ["q2"], ["q4"]]
    assert [batch[0].crashes for batch in batches] == [1, 0, 2, 0]
    assert not queue


def test_a_query_that_ended_the_process_too_often_is_never_run_again() -> None:
    queue, _ = intake()
    finished = Finished()
    queue.suspect({f"{TOPIC}/0/0": 3})
    queue.take(records(query_of(1, "killer"), query_of(1, "good")), NOW_MS, 0, finished)
    assert ids(queue.next_batch(8, NOW_MS, 0, finished)) == ["good"]
    assert outcomes_of(finished) == {"killer": "model_error"}
    assert [letter.reason for letter in finished.dead_letters] == ["crash_limit"]
    assert "ended 3 times" in finished.dead_letters[0].error


def test_an_expired_suspect_is_not_run() -> None:
    queue, _ = intake()
    finished = Finished()
    queue.suspect({f"{TOPIC}/0/0": 1})
    queue.take(records(query_of(1, "q", deadline_ms=NOW_MS + 5)), NOW_MS, 0, finished)
    assert not queue.next_batch(8, NOW_MS + 5, 0, finished)
    assert outcomes_of(finished) == {"q": "expired"}


def test_a_settled_suspect_is_a_suspect_no_more() -> None:
    queue, _ = intake()
    queue.suspect({f"{TOPIC}/0/0": 1})
    finished = Finished()
    queue.take(records(query_of(1, "q")), NOW_MS, 0, finished)
    (work,) = queue.next_batch(8, NOW_MS, 0, finished)
    queue.settle(work)
    queue.take([record_of(query_of(1, "again"))], NOW_MS, 0, finished)
    assert not queue.has_suspect


def test_partitions_that_go_take_their_queries_and_suspects_with_them() -> None:
    queue, _ = intake(0, 1)
    queue.suspect({f"{TOPIC}/1/0": 1, f"{TOPIC}/0/0": 1})
    both = [
        record_of(query_of(1, f"p{partition}"), offset, partition=partition)
        for partition in (0, 1)
        for offset in (0, 1)
    ]
    queue.take(both, NOW_MS, 0, Finished())
    queue.drop({(TOPIC, 1)})
    left = [*queue.next_batch(8, NOW_MS, 0, Finished()), *queue.next_batch(8, NOW_MS, 0, Finished())]
    assert ids(left) == ["p0", "p0"]
    assert not queue


def test_no_more_is_polled_than_the_next_batches_need() -> None:
    queue, _ = intake()
    assert queue.room(cap=1) == 34
    queue.take(records(*[query_of(1) for _ in range(30)]), NOW_MS, 0, Finished())
    assert queue.room(cap=1) == 4
    queue.take(records(*[query_of(1) for _ in range(30)]), NOW_MS, 0, Finished())
    assert queue.room(cap=1) == 0
    assert queue.room(cap=64) == 100


def test_large_payloads_are_bounded_by_their_bytes() -> None:
    queue, _ = intake()
    big = Query("q", b'"' + b"x" * (20 * 1024 * 1024) + b'"', rows=None)
    queue.take(records(big, big), NOW_MS, 0, Finished())
    assert queue.room(cap=64) == 0
    queue.next_batch(1, NOW_MS, 0, Finished())
    assert queue.room(cap=64) > 0
    queue.drop({(TOPIC, 0)})
    assert queue.room(cap=64) == 160


def test_what_expires_before_the_batch_would_be_done_is_not_begun() -> None:
    queue, _ = intake()
    finished = Finished()
    soon, late = query_of(1, "soon", deadline_ms=NOW_MS + 5), query_of(1, "late", deadline_ms=NOW_MS + 50)
    queue.take(records(soon, late), NOW_MS, 0, finished)
    assert ids(queue.next_batch(8, NOW_MS, 0, finished, answer_ms=20)) == ["late"]
    assert outcomes_of(finished) == {"soon": "expired"}
    assert values_of(finished)["soon"] == b"5 ms were left when the query could run, and a batch takes 20 ms"
