from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from skysail.topics.broker import TopicPartition
from skysail.topics.memory.assignment import assign_partitions

TOPICS = ["a", "b", "c"]
MEMBERS = st.dictionaries(
    st.sampled_from(["m1", "m2", "m3", "m4"]), st.frozensets(st.sampled_from(TOPICS), max_size=3), max_size=4
)
PARTITIONS = st.frozensets(st.tuples(st.sampled_from(TOPICS), st.integers(0, 7)), max_size=20)


@given(MEMBERS, PARTITIONS, st.data())
def test_every_partition_that_somebody_subscribes_to_has_one_subscriber(
    members: dict[str, frozenset[str]], partitions: frozenset[TopicPartition], data: st.DataObject
) -> None:
    owners = st.sampled_from([*members, "gone"])
    before = {place: data.draw(owners) for place in sorted(partitions) if data.draw(st.booleans())}
    after = assign_partitions(members, partitions, before)
    wanted = {topic for topics in members.values() for topic in topics}
    assert after.keys() == {place for place in partitions if place[0] in wanted}
    assert all(topic in members[owner] for (topic, _), owner in after.items())
    assert_even(members, after)


@given(MEMBERS, PARTITIONS)
def test_nothing_moves_when_nothing_changed(
    members: dict[str, frozenset[str]], partitions: frozenset[TopicPartition]
) -> None:
    first = assign_partitions(members, partitions, {})
    assert assign_partitions(members, partitions, first) == first


@given(MEMBERS, PARTITIONS)
def test_when_a_member_leaves_the_others_keep_what_they_had_while_that_is_even(
    members: dict[str, frozenset[str]], partitions: frozenset[TopicPartition]
) -> None:
    everybody = dict.fromkeys(members, frozenset(TOPICS))
    before = assign_partitions(everybody, partitions, {})
    for gone in members:
        rest = {member: topics for member, topics in everybody.items() if member != gone}
        after = assign_partitions(rest, partitions, before)
        assert all(after[place] == owner for place, owner in before.items() if owner != gone)


def test_a_second_member_takes_half() -> None:
    topic = {"m1": {"a"}, "m2": {"a"}}
    before = assign_partitions({"m1": {"a"}}, [("a", i) for i in range(8)], {})
    after = assign_partitions(topic, before, before)
    assert Counter(after.values()) == {"m1": 4, "m2": 4}


def assert_even(members: dict[str, frozenset[str]], after: dict[TopicPartition, str]) -> None:
    """No partition could go to a member that has two fewer than its owner."""
    load = Counter(after.values())
    for (topic, _), owner in after.items():
        for member, topics in members.items():
            assert topic not in topics or load[member] + 1 >= load[owner]
