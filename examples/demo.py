"""The main job, end to end, on this machine: train, deploy, ask, batch, cache, promote, roll back.

`make demo` runs it. It starts the embedded stack (unless one is up) and leaves it running; `make down` stops it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skysail.admin.connection import Connection
from skysail.admin.deployers.sklearn import deploy_sklearn_model
from skysail.admin.embedded import StackOptions, down, start_detached
from skysail.admin.embedded.state import StateFolder, UpInfo, default_state
from skysail.topics.errors import SkysailError

APP = "digits"
LOADS = (1, 8, 64)
SECONDS_OF_LOAD = 2.0

console = Console()


class Story:
    """What was done and what came of it, printed as one table at the end."""

    def __init__(self) -> None:
        self.table = Table("step", "result", "seconds", title="What just happened", title_justify="left")

    def tell(self, step: str, work: Callable[[], tuple[Any, str]]) -> Any:
        """Do one step and note it."""
        with console.status(step):
            started = time.perf_counter()
            value, result = work()
            took_s = time.perf_counter() - started
        self.table.add_row(step, result, f"{took_s:.1f}")
        console.print(f"[green]✓[/] {step}: {result}")
        return value


def train() -> tuple[dict[str, Any], np.ndarray]:
    """Two models on scikit-learn's handwritten digits (1,797 images of 8×8), and the images held out."""
    images, labels = load_digits(return_X_y=True)
    known, held_out, known_labels, _ = train_test_split(images, labels, test_size=0.25, random_state=0)
    models = {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "forest": RandomForestClassifier(100, random_state=0),
    }
    return {name: model.fit(known, known_labels) for name, model in models.items()}, held_out


def ask(url: str, rows: np.ndarray) -> tuple[list[Any], Counter[str]]:
    """One request a row; the outputs, and how many came from the cache."""
    sources: Counter[str] = Counter()
    outputs = []
    with httpx.Client(timeout=30) as http:
        for row in rows.tolist():
            answer = http.post(url, json={"input": row}).raise_for_status()
            outputs.append(answer.json()["output"])
            sources[answer.headers["x-cache"]] += 1
    return outputs, sources


def same(outputs: list[Any], model: Any, rows: np.ndarray) -> str:
    """Compare with the model's own answers; the demo ends here if one differs."""
    expected = model.predict(rows).tolist()
    if outputs != expected:
        wrong = sum(got != want for got, want in zip(outputs, expected, strict=True))
        sys.exit(f"{wrong} of {len(expected)} answers differ from the model's own")
    return f"{len(outputs)} answers, all equal to model.predict"


async def load(url: str, rows: list[list[float]], callers: int) -> int:
    """Ask from so many callers at once for two seconds; how many answers came. Every row is new, so none is cached."""
    answers = 0
    limit = time.perf_counter() + SECONDS_OF_LOAD
    context = httpx.create_ssl_context()  # one for all: making it costs more than a thousand requests

    async def caller(number: int) -> None:
        nonlocal answers
        random = np.random.default_rng([callers, number])
        async with httpx.AsyncClient(timeout=30, verify=context) as http:
            while time.perf_counter() < limit:
                row = rows[int(random.integers(len(rows)))]
                noisy = (np.asarray(row) + random.normal(0, 0.01, len(row))).tolist()
                (await http.post(url, json={"input": noisy})).raise_for_status()
                answers += 1

    await asyncio.gather(*(caller(number) for number in range(callers)))
    return answers


def batches_under_load(connection: Connection, url: str, rows: np.ndarray) -> tuple[None, str]:
    """Mean batch size at each number of callers, from the worker's own heartbeat."""
    seen = []
    for callers in LOADS:
        answers = asyncio.run(load(url, rows.tolist(), callers))
        workers = [worker for worker in connection.get_all_model_replicas(verbose=True) if worker["batch_rows"]]
        size = max((worker["batch_rows"] for worker in workers), default=1.0)
        seen.append(f"{callers} callers: {answers / SECONDS_OF_LOAD:.0f}/s in batches of {size:.1f}")
    return None, "; ".join(seen)


def stack_up(state: Path) -> tuple[UpInfo, str]:
    """The stack that is running in the state folder, or a new one."""
    info = StateFolder(state).read()
    found = "was up already" if info is not None else "broker, store, frontend, admin"
    info = info or start_detached(StackOptions(state=state))
    return info, f"{found}; state in {state}"


def next_version(connection: Connection, name: str) -> int:
    """The first number that no version of the model has: the demo can be run again."""
    versions = [int(model.partition(":")[2]) for model in connection.get_all_models() if model.startswith(f"{name}:")]
    return max(versions, default=0) + 1


def tell_story(story: Story, state: Path) -> UpInfo:
    """All steps."""
    models, rows = story.tell("train two models on digits", lambda: (train(), "logistic regression, 100-tree forest"))
    info: UpInfo = story.tell("start Skysail", lambda: stack_up(state))
    key = StateFolder(state).signing_key.read_bytes()
    connection = Connection(info.admin, frontend_url=info.frontend, signing_key=key)
    url = f"{info.frontend}/{APP}/predict"
    first = next_version(connection, APP)
    second = first + 1

    def deploy(version: int, name: str, *, promote: bool) -> tuple[None, str]:
        deploy_sklearn_model(connection, APP, version, models[name], promote=promote, labels=[name])
        return None, f"{name} is ready{' and current' if promote else ', not yet current'}"

    def register() -> tuple[None, str]:
        if APP not in connection.get_all_apps():
            connection.register_application(APP, "doubles", slo_micros=10_000_000, cache_ttl_s=600)
            connection.link_model_to_app(APP, APP)
        return None, f"POST {url}"

    def check(name: str) -> tuple[None, str]:
        outputs, sources = ask(url, rows)
        return None, f"{same(outputs, models[name], rows)}; {sources['HIT']} from the cache"

    def promote(version: int) -> tuple[None, str]:
        connection.promote(APP, version)
        return None, f"version {connection.get_current_model_version(APP)} is current"

    story.tell(f"deploy version {first}", lambda: deploy(first, "logistic", promote=True))
    story.tell("register an application", register)
    story.tell("ask for the held-out set", lambda: check("logistic"))
    story.tell("ask for it again", lambda: check("logistic"))
    story.tell("batches grow with the load", lambda: batches_under_load(connection, url, rows))
    story.tell(f"deploy version {second}", lambda: deploy(second, "forest", promote=False))
    story.tell(f"promote version {second}", lambda: promote(second))
    story.tell("ask the new version", lambda: check("forest"))
    story.tell("roll back", lambda: (None, f"version {connection.rollback(APP)} is current"))
    story.tell("ask the old version", lambda: check("logistic"))
    return info


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=default_state(), help="folder of the stack")
    parser.add_argument("--stop", action="store_true", help="stop the stack at the end")
    arguments = parser.parse_args()
    story = Story()
    try:
        info = tell_story(story, arguments.state.absolute())
    except SkysailError as error:
        sys.exit(f"demo: {error}")
    console.print()
    console.print(story.table)
    if arguments.stop:
        down(arguments.state.absolute())
        return
    row = load_digits().data[0].astype(int).tolist()
    console.print("\nTry next (the stack is still up; `make down` stops it):")
    for line in (
        f"curl -d '{{\"input\": {row}}}' {info.frontend}/{APP}/predict",
        f"curl {info.frontend}/v2/models/{APP}",
        f"curl {info.frontend}/metrics",
        f"open {info.frontend}/docs and {info.admin}/docs",
        ".venv/bin/skysail models ls",
    ):
        console.print(f"  {line}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
