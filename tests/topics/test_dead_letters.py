"""Dead letters, read and made ready to be sent once more."""

from __future__ import annotations

import msgspec
import pytest

from skysail.topics.dead_letters import LetterFilter, read_dead_letter, replayed_headers
from skysail.topics.errors import DecodeError
from skysail.topics.records import ConsumedRecord, Header, dead_letter_headers

ORIGIN = ConsumedRecord("queries", 3, 77, b"[1]", b"k", [("skysail-id", b"q"), ("correlation-id", b"\xff")], 1000)


def buried(origin: ConsumedRecord = ORIGIN, reason: str = "crash_limit", error: str = "it died") -> ConsumedRecord:
    """As a worker leaves it on the dead-letter topic."""
    headers = [*dead_letter_headers(origin, reason, error, now_ms=5000)]
    return ConsumedRecord(f"{origin.topic}-dlt", 0, 9, origin.value, origin.key, headers, 5001)  # type: ignore[arg-type]


def with_headers(*headers: Header) -> ConsumedRecord:
    return msgspec.structs.replace(ORIGIN, headers=list(headers))


def test_a_letter_says_what_it_was_and_why_it_is_there() -> None:
    letter = read_dead_letter(buried())
    assert (letter.query_id, letter.reason, letter.error) == ("q", "crash_limit", "it died")
    assert (letter.topic, letter.partition, letter.offset) == ("queries", 3, 77)
    assert (letter.timestamp_ms, letter.buried_ms, letter.place) == (1000, 5000, "0/9")


@pytest.mark.parametrize(
    ("headers", "waits"),
    [
        ((), True),
        ((("skysail-reply-to", b"redis:c"),), False),
        ((("reply-to", b"answers"),), False),
        ((("content-type", b"image/png"),), True),
    ],
)
def test_a_letter_without_an_id_has_that_of_its_origin_and_knows_whether_its_outcome_is_a_job(
    headers: tuple[Header, ...], *, waits: bool
) -> None:
    letter = read_dead_letter(buried(with_headers(*headers)))
    assert (letter.query_id, letter.waits) == ("queries-3-77", waits)


def test_a_record_that_no_worker_buried_is_no_letter() -> None:
    with pytest.raises(DecodeError, match="queries/3/77 is no dead letter"):
        read_dead_letter(ORIGIN)


def test_what_is_sent_once_more_is_as_it_came() -> None:
    assert replayed_headers(read_dead_letter(buried())) == ORIGIN.headers


def test_it_keeps_its_id_and_loses_its_deadline() -> None:
    letter = read_dead_letter(buried(with_headers(("skysail-deadline", b"1"), ("accept", b"application/json"))))
    assert replayed_headers(letter) == [("accept", b"application/json"), ("skysail-id", b"queries-3-77")]


def test_a_letter_that_is_buried_again_is_read_by_its_last_burial() -> None:
    again = buried(with_headers(*replayed_headers(read_dead_letter(buried()))), "undecodable", "worse")
    assert read_dead_letter(again).reason == "undecodable"
    assert replayed_headers(read_dead_letter(again)) == ORIGIN.headers


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (LetterFilter(), True),
        (LetterFilter(query_id="q", reason="crash_limit", error="DIED", since_ms=5000, until_ms=5001), True),
        (LetterFilter(query_id="other"), False),
        (LetterFilter(reason="undecodable"), False),
        (LetterFilter(error="it lived"), False),
        (LetterFilter(since_ms=5001), False),
        (LetterFilter(until_ms=5000), False),
    ],
)
def test_a_filter_means_what_all_its_parts_mean(wanted: LetterFilter, *, matches: bool) -> None:
    assert wanted.matches(read_dead_letter(buried())) is matches
