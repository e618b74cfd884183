from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from skysail.topics.kafka.partitions import PartitionChooser


class ChooserLaws(RuleBasedStateMachine):
    """Any order of flushes, queries and answers, beside a model that only counts."""

    chooser: PartitionChooser
    outstanding: list[int]

    @initialize(partitions=st.integers(1, 9), chunk=st.integers(1, 20))
    def begin(self, partitions: int, chunk: int) -> None:
        self.chooser = PartitionChooser(partitions, chunk)
        self.outstanding = [0] * partitions
        self.sent: list[tuple[int, int]] = []
        self.left = 0
        self.chunk = chunk
        self.last = -1

    @rule()
    def flush(self) -> None:
        self.chooser.new_flush()
        self.left = 0

    @rule(rows=st.integers(1, 40))
    def send(self, rows: int) -> None:
        partition = self.chooser.take(rows)
        if self.left <= 0:
            assert self.outstanding[partition] == min(self.outstanding), "a fresh choice has the fewest rows"
            self.left = self.chunk
        else:
            assert partition == self.last, "rows of one flush stay together up to the chunk"
        self.left -= rows
        self.last = partition
        self.outstanding[partition] += rows
        self.sent.append((partition, rows))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        partition, rows = self.sent.pop(data.draw(st.integers(0, len(self.sent) - 1)))
        self.chooser.done(partition, rows)
        self.outstanding[partition] -= rows

    @invariant()
    def counts_agree(self) -> None:
        assert self.chooser.outstanding == self.outstanding
        assert min(self.outstanding, default=0) >= 0


TestChooserLaws = ChooserLaws.TestCase


@given(st.integers(1, 12), st.integers(1, 5))
def test_equals_take_turns(partitions: int, rounds: int) -> None:
    chooser = PartitionChooser(partitions)
    taken: list[int] = []
    for _ in range(partitions * rounds):
        chooser.new_flush()
        taken.append(chooser.take(1))
        chooser.done(taken[-1], 1)
    assert Counter(taken) == dict.fromkeys(range(partitions), rounds)
    assert taken[:partitions] == list(range(partitions))


def test_a_partition_that_does_not_answer_gets_no_more() -> None:
    chooser = PartitionChooser(4)
    stuck = chooser.take(1)
    for _ in range(100):
        chooser.new_flush()
        partition = chooser.take(1)
        assert partition != stuck
        chooser.done(partition, 1)


def test_one_large_flush_is_spread_in_chunks() -> None:
    chooser = PartitionChooser(4, chunk=16)
    chooser.new_flush()
    taken = [chooser.take(1) for _ in range(64)]
    assert taken == [partition for partition in range(4) for _ in range(16)]
