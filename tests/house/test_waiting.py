import asyncio
from itertools import count

import pytest

from tests.waiting import NotReachedError, wait_until, wait_until_async


def test_the_first_true_value_is_returned() -> None:
    looks = iter([0, "", None, "there"])
    assert wait_until(lambda: next(looks), 5, "a value") == "there"


def test_a_condition_is_looked_at_even_when_there_is_no_time() -> None:
    assert wait_until(lambda: 1, 0, "one")


def test_a_condition_that_never_holds_ends_with_its_message() -> None:
    looks = count()
    with pytest.raises(NotReachedError, match=r"not within 0\.03 s: a miracle"):
        wait_until(lambda: next(looks) < 0, 0.03, lambda: "a miracle")
    assert next(looks) > 1


def test_what_a_condition_raises_is_passed_on() -> None:
    def broken() -> bool:
        raise LookupError

    with pytest.raises(LookupError):
        wait_until(broken, 5, "nothing")


async def test_the_event_loop_goes_on_while_a_coroutine_waits() -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(wait_until_async(event.is_set, 5, "the event"))
    await asyncio.sleep(0)
    event.set()
    assert await waiting


async def test_a_coroutine_can_be_the_condition() -> None:
    looks = count()

    async def third() -> int | None:
        return look if (look := next(looks)) == 3 else None

    assert await wait_until_async(third, 5, "the third look") == 3


async def test_a_coroutine_that_never_holds_ends_with_its_message() -> None:
    with pytest.raises(NotReachedError, match="a miracle"):
        await wait_until_async(lambda: False, 0.02, "a miracle")
