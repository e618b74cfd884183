import asyncio

from skysail.topics.tasks import cancel_all


async def test_a_task_that_loses_a_cancellation_is_asked_again() -> None:
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if lost:
                    raise
                lost += 1

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await asyncio.wait_for(cancel_all([task]), 10)
    assert (task.cancelled(), lost) == (True, 1)


async def test_a_task_that_fails_is_over_as_well() -> None:
    async def failing() -> None:
        raise ValueError

    task = asyncio.create_task(failing())
    await cancel_all([task])
    assert task.done()
    await cancel_all([])
