from __future__ import annotations

import asyncio

import pytest

from skysail.admin.ending import end_tasks


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_tasks_are_ended_and_those_that_have_ended_are_left_alone() -> None:
    running = asyncio.create_task(for_ever())
    done = asyncio.create_task(asyncio.sleep(0))
    await done
    await end_tasks([running, done])
    assert running.cancelled()
    assert not done.cancelled()


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if swallowed:
                    raise
                swallowed += 1

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await end_tasks([task])
    assert task.cancelled()
    assert swallowed == 1


async def test_what_a_task_raises_at_its_end_is_not_passed_on() -> None:
    async def fails() -> None:
        try:
            await for_ever()
        finally:
            message = "at the end"
            raise RuntimeError(message)

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await end_tasks([task])
    with pytest.raises(RuntimeError, match="at the end"):
        task.result()
