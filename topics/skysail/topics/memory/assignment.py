"""Which member of a consumer group reads which partition: even, and sticky, as Kafka's cooperative-sticky assignor."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from skysail.topics.broker import TopicPartition

__all__ = ["assign_partitions"]


def assign_partitions(
    members: Mapping[str, Collection[str]], partitions: Iterable[TopicPartition], before: Mapping[TopicPartition, str]
) -> dict[TopicPartition, str]:
    """Share partitions out among members: as evenly as their subscriptions allow, moving as few as that needs.

    Args:
        members: the topics that each member subscribes to; ties go to the member named first.
        partitions: all there are.
        before: the member that had each partition.

    Returns:
        The member that gets each partition; one that nobody subscribes to is left out.
    """
    after: dict[TopicPartition, str] = {}
    load = dict.fromkeys(members, 0)
    homeless: list[TopicPartition] = []
    for partition in sorted(partitions):
        owner = before.get(partition)
        if owner is not None and partition[0] in members.get(owner, ()):
            after[partition] = owner
            load[owner] += 1
        else:
            homeless.append(partition)
    for partition in homeless:
        takers = [member for member, topics in members.items() if partition[0] in topics]
        if takers:
            after[partition] = min(takers, key=load.__getitem__)
            load[after[partition]] += 1
    while (move := _improvement(members, after, load)) is not None:
        partition, taker = move
        load[after[partition]] -= 1
        load[taker] += 1
        after[partition] = taker
    return after


def _improvement(
    members: Mapping[str, Collection[str]], owners: Mapping[TopicPartition, str], load: Mapping[str, int]
) -> tuple[TopicPartition, str] | None:
    """A partition that another member should have: its owner has at least two more. Each move lessens Σ load²."""
    for partition in sorted(owners, reverse=True):
        takers = [member for member, topics in members.items() if partition[0] in topics]
        taker = min(takers, key=load.__getitem__)
        if load[taker] + 1 < load[owners[partition]]:
            return partition, taker
    return None
