"""What outlives a worker process, and what it reads before it can begin."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from skysail.topics.errors import NoModelError
from skysail.topics.names import KeyNames
from skysail.topics.specs import ModelSpec
from skysail.topics.store.connection import async_store, sync_store
from skysail.topics.store.registry import Registry
from skysail.workers.registration import read_spec
from skysail.workers.state import StateFolder
from skysail.workers.stopping import Patience, StopRequest
from tests.services import Redis

HOLD = """
    import sys
    from pathlib import Path
    from skysail.topics.errors import ConflictError
    from skysail.workers.state import StateFolder
    try:
        journal = StateFolder(Path(sys.argv[1])).open()
    except ConflictError as error:
        print("taken:", error)
    else:
        print("left behind:", journal.read_left_behind())
"""


def hold(folder: Path) -> str:
    command = [sys.executable, "-c", textwrap.dedent(HOLD), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_state_folder_has_one_worker_at_a_time_and_is_free_again_after_it(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    state = StateFolder(folder)
    journal = state.open()
    journal.begin([("t", 0, 5)])
    assert hold(folder).startswith("taken: the state folder")
    journal.close()
    state.close()
    assert hold(folder) == "left behind: [('t', 0, 5)]\n"


async def test_a_version_is_read_from_the_registry(redis_server: Redis, namespace: str) -> None:
    keys = KeyNames(namespace)
    store = async_store(redis_server.url)
    spec = ModelSpec(name="m", version="1", objective_ms=7.0)
    await Registry(store, keys).create_model(spec)
    await store.aclose()
    client = sync_store(redis_server.url)
    patience = Patience(StopRequest())
    assert read_spec(client, keys, "m", "1", patience) == spec
    with pytest.raises(NoModelError, match="model 'm' has no version '2'"):
        read_spec(client, keys, "m", "2", patience)
    client.close()


def test_an_empty_registry_is_waited_for(redis_server: Redis, namespace: str) -> None:
    keys = KeyNames(namespace)
    client = sync_store(redis_server.url)
    pauses = 0

    def restore(_: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 3:
            client.set(keys.epoch, 1)

    with pytest.raises(NoModelError):
        read_spec(client, keys, "m", "1", Patience(StopRequest(), restore))
    assert pauses >= 3
    client.close()
