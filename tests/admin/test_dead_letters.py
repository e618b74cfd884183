"""Dead letters through the admin process and the command line, on real Kafka and Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest
import redis
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from skysail.admin.cli.app import app
from skysail.admin.cli.dlt import moment_ms
from skysail.admin.cli.group import ExitStatus
from skysail.admin.connection import Connection
from skysail.topics.dead_letters import LetterFilter
from skysail.topics.errors import BadInputError, NotFoundError
from skysail.topics.kafka.letters import TopicReader
from skysail.topics.names import KeyNames, TopicNames, dead_letter_topic
from skysail.topics.records import ConsumedRecord, Header, dead_letter_headers
from skysail.topics.specs import InputType, ModelSpec
from tests.admin.processes import AdminProcess
from tests.services import Kafka, Redis

pytestmark = pytest.mark.timeout(120)

Run = Callable[..., Result]


class Scene:
    """A registered model whose workers are nobody's, and letters as its workers would leave them."""

    def __init__(self, admin: AdminProcess, kafka: Kafka, store: redis.Redis, model: str) -> None:
        self.model = model
        self.connection: Connection = admin.connection
        self.names = TopicNames(admin.namespace)
        self.keys = KeyNames(admin.namespace)
        self.store = store
        self.own, self.version = self.names.model(model), self.names.version(model, "1")
        self._kafka = kafka
        self._producer = Producer({"bootstrap.servers": kafka.address})
        spec = ModelSpec(name=model, version="1", input_type=InputType.STRINGS, partitions=1)
        self.connection._call("POST", "models", content=msgspec.json.encode(spec))

    def bury(self, query_id: str, topic: str = "", reason: str = "crash_limit", *headers: Header) -> None:
        """Leave a letter of a query on the version's topic, or another."""
        topic = topic or self.version
        own: list[tuple[str, bytes | None]] = [("skysail-id", query_id.encode()), *headers]
        origin = ConsumedRecord(topic, 0, 5, b'["%b"]' % query_id.encode(), b"key", own, 1)
        told = [*dead_letter_headers(origin, reason, f"about {query_id}")]
        self._producer.produce(dead_letter_topic(topic), origin.value, origin.key, 0, headers=told)  # type: ignore[arg-type]
        assert self._producer.flush(10) == 0
        time.sleep(0.002)  # letters are listed by the millisecond of their burial

    def records(self, topic: str) -> list[ConsumedRecord]:
        """What lies on a topic."""
        return list(TopicReader({"bootstrap.servers": self._kafka.address}).read(topic))

    def ids(self, **wanted: object) -> list[str]:
        """Ids of the letters that a filter means."""
        return [one["id"] for one in self.connection.get_dead_letters(self.model, wanted=LetterFilter(**wanted))]  # type: ignore[arg-type]


@pytest.fixture
def scene(admin: AdminProcess, kafka: Kafka, redis_server: Redis, name: str) -> Iterator[Scene]:
    with redis.Redis.from_url(redis_server.url) as store:
        yield Scene(admin, kafka, store, name)


@pytest.fixture
def run(admin: AdminProcess, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("SKYSAIL_ADMIN_URL", admin.url)
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: str, status: ExitStatus = ExitStatus.DONE) -> Result:
        result = CliRunner().invoke(app, ["dlt", *arguments])
        assert result.exit_code == status, f"{result.output}\n{result.exception!r}"
        return result

    return invoke


def test_letters_of_all_topics_are_listed_in_the_order_of_their_burial(scene: Scene) -> None:
    assert scene.ids() == []
    scene.bury("a")
    scene.bury("b", scene.own, "undecodable")
    scene.bury("c")
    assert scene.ids() == ["a", "b", "c"]
    assert scene.ids(reason="undecodable") == ["b"]
    assert scene.ids(error="ABOUT C") == ["c"]
    assert [one["id"] for one in scene.connection.get_dead_letters(scene.model, "1")] == ["a", "c"]
    assert [one["id"] for one in scene.connection.get_dead_letters(scene.model, limit=2)] == ["b", "c"]


def test_a_letter_is_shown_whole(scene: Scene) -> None:
    scene.bury("a", "", "crash_limit", ("bytes", b"\xff"))
    (letter,) = scene.connection.get_dead_letter(scene.model, "a")
    assert (letter["value"], letter["key"]["value"], letter["from"]) == ('["a"]', "key", f"{scene.version}/0/5")
    assert {"name": "bytes", "value": "/w==", "base64": True} in letter["headers"]
    with pytest.raises(NotFoundError, match="no dead letter of query 'b'"):
        scene.connection.get_dead_letter(scene.model, "b")


def test_what_is_replayed_lies_on_its_topic_again_with_its_id_and_only_once(scene: Scene) -> None:
    scene.bury("a", "", "crash_limit", ("skysail-deadline", b"1"), ("reply-to", b"answers"))
    scene.bury("b")
    sent = scene.connection.replay_dead_letters(scene.model, LetterFilter(query_id="a"))
    assert [one["id"] for one in sent] == ["a"]
    (record,) = scene.records(scene.version)
    assert (record.value, record.key) == (b'["a"]', b"key")
    assert record.headers == [("skysail-id", b"a"), ("reply-to", b"answers")]
    listed = {one["id"]: one["replayed_ms"] for one in scene.connection.get_dead_letters(scene.model)}
    assert listed["a"] is not None
    assert listed["b"] is None
    assert [one["id"] for one in scene.connection.replay_dead_letters(scene.model)] == ["b"]
    assert scene.connection.replay_dead_letters(scene.model) == []
    assert [one["id"] for one in scene.connection.replay_dead_letters(scene.model, again=True)] == ["a", "b"]
    assert len(scene.records(scene.version)) == 4


def test_a_replay_may_go_to_the_current_version(scene: Scene) -> None:
    scene.bury("a")
    scene.connection.replay_dead_letters(scene.model, to_model=True)
    assert scene.records(scene.version) == []
    assert [record.value for record in scene.records(scene.own)] == [b'["a"]']


def test_a_replay_makes_room_for_a_new_outcome_of_a_job_and_touches_no_other(scene: Scene) -> None:
    for query_id in ("job", "answered"):
        scene.store.set(scene.keys.job(query_id), b"failed")
    scene.bury("job")
    scene.bury("answered", "", "crash_limit", ("reply-to", b"answers"))
    scene.connection.replay_dead_letters(scene.model)
    assert scene.store.get(scene.keys.job("job")) is None
    assert scene.store.get(scene.keys.job("answered")) == b"failed"


def test_a_dry_run_changes_nothing(scene: Scene) -> None:
    scene.bury("a")
    assert [one["id"] for one in scene.connection.replay_dead_letters(scene.model, dry_run=True)] == ["a"]
    assert scene.connection.purge_dead_letters(scene.model, dry_run=True) == 1
    assert scene.records(scene.version) == []
    assert scene.connection.get_dead_letters(scene.model)[0]["replayed_ms"] is None


def test_letters_are_purged_from_the_oldest_on(scene: Scene) -> None:
    scene.bury("a")
    scene.bury("b")
    scene.connection.replay_dead_letters(scene.model)
    last_ms = scene.connection.get_dead_letters(scene.model)[-1]["buried_ms"]
    assert scene.connection.purge_dead_letters(scene.model, until_ms=last_ms) == 1
    assert scene.ids() == ["b"]
    assert scene.store.hkeys(scene.keys.replayed(dead_letter_topic(scene.version))) == [b"0/1"]
    assert scene.connection.purge_dead_letters(scene.model) == 1
    assert scene.ids() == []


def test_what_is_not_there_is_named(scene: Scene) -> None:
    with pytest.raises(NotFoundError, match="no model is named 'unheard-of'"):
        scene.connection.get_dead_letters("unheard-of")
    with pytest.raises(NotFoundError, match="has no version '9'; it has 1"):
        scene.connection.get_dead_letters(scene.model, "9")


def test_the_command_lists_shows_replays_and_purges(scene: Scene, run: Run) -> None:
    scene.bury("a", scene.own, "undecodable")
    assert "about a" in run("ls", scene.model).output
    assert [one["id"] for one in json.loads(run("ls", scene.model, "--since", "1h", "-o", "json").output)] == ["a"]
    assert json.loads(run("ls", scene.model, "--until", "1h", "-o", "json").output) == []
    assert json.loads(run("show", scene.model, "a").output)["value"] == '["a"]'
    assert "1 letters would be sent once more" in run("replay", scene.model, "--dry-run").output
    assert "1 letters were sent once more" in run("replay", scene.model, "--reason", "undecodable").output
    assert "0 letters were sent once more" in run("replay", scene.model).output
    assert "1 letters were deleted" in run("purge", scene.model).output
    assert "is no time" in run("ls", scene.model, "--since", "yesterday", status=ExitStatus.REFUSED).output
    assert "no dead letter" in run("show", scene.model, "a", status=ExitStatus.REFUSED).output


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        (None, None),
        ("90s", 910_000),
        ("2m", 880_000),
        ("1970-01-01T00:00:01+00:00", 1000),
        ("1970-01-01T01:00:01+01:00", 1000),
    ],
)
def test_a_time_is_so_long_ago_or_a_moment(text: str | None, at_ms: int | None) -> None:
    assert moment_ms(text, 1000.0) == at_ms


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(BadInputError, match="is no time: expected 90s"):
        moment_ms("5 parsecs", 0)
