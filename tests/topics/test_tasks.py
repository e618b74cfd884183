from __future__ import annotations

import asyncio

from skysail.topics.tasks import cancel_all


async def test_a_task_that_loses_its_cancellation_is_asked_again() -> None:
    asked = 0

    async def stubborn() -> None:
        nonlocal asked
        while asked < 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                asked += 1

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(asyncio.sleep(60))]
    await asyncio.sleep(0)  # they have begun
    await asyncio.wait_for(cancel_all(tasks), 10)
    assert [task.done() for task in tasks] == [True, True]
    assert asked == 3


async def test_tasks_that_have_ended_already_and_no_tasks_at_all_are_fine() -> None:
    async def fail() -> None:
        message = "ended with an error"
        raise ValueError(message)

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    await cancel_all([task])
    await cancel_all([])
    assert isinstance(task.exception(), ValueError)
