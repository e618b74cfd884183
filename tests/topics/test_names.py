from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skysail.topics.errors import InvalidNameError
from skysail.topics.names import NAME_PATTERN, KeyNames, TopicNames, check_name, dead_letter_topic

VALID = st.from_regex(NAME_PATTERN, fullmatch=True).filter(lambda name: len(name) <= 63)


@given(VALID)
def test_a_dns_label_is_a_name(name: str) -> None:
    assert check_name("model name", name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-",
        "-a",
        "a-",
        "A",
        "a.b",
        "a/b",
        "a b",
        "a_b",
        "a\n",
        "\na",
        "ä",
        "a\x00",
        "../a",
        "a:b",
        "a" * 64,
        "\uff11",
    ],
)
def test_anything_else_is_refused_with_the_rule(name: str) -> None:
    with pytest.raises(InvalidNameError, match="at most 63 of a-z, 0-9") as caught:
        check_name("model name", name)
    assert str(caught.value).startswith(f"model name {name!r} is not valid")
    assert caught.value.status == 400


def test_topics_are_named_as_documented() -> None:
    topics = TopicNames("prod")
    assert topics.model("digits") == "skysail.prod.models.digits.queries"
    assert topics.version("digits", "2") == "skysail.prod.models.digits.2.queries"
    assert topics.feedback("shop") == "skysail.prod.apps.shop.feedback"
    assert dead_letter_topic(topics.model("digits")) == "skysail.prod.models.digits.queries-dlt"


@given(st.lists(st.tuples(VALID, VALID), min_size=2, max_size=2, unique=True))
def test_two_versions_never_share_a_topic(pairs: list[tuple[str, str]]) -> None:
    topics = TopicNames()
    names = {topics.version(*pair) for pair in pairs} | {topics.model(model) for model, _ in pairs}
    assert len(names) == 2 + len({model for model, _ in pairs})


def test_the_longest_names_make_a_topic_that_kafka_takes() -> None:
    longest = "a" * 63
    assert len(dead_letter_topic(TopicNames(longest).version(longest, longest))) <= 249


def test_every_key_is_under_the_namespace() -> None:
    keys = KeyNames("prod")
    found = [
        keys.replies("c"),
        keys.cache_prefix("m", "1"),
        keys.job("q"),
        keys.suspects("m"),
        keys.worker("w"),
        keys.workers,
        keys.apps,
        keys.models,
        keys.links,
        keys.current,
        keys.changes,
        keys.epoch,
    ]
    assert len(set(found)) == len(found)
    assert all(key.startswith("skysail:prod:") for key in found)
