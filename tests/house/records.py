"""A Kafka client as small as the tests of the servers need."""

from concurrent.futures import wait

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

__all__ = ["committed_offset", "create_topic", "produce", "read", "topics"]

LIMIT_S = 20


def create_topic(bootstrap_servers: str, topic: str) -> None:
    """Makes a topic of one partition and returns once the broker has it."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    futures = admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)]).values()
    done, _ = wait(futures, LIMIT_S)
    for future in done:
        future.result()
    assert len(done) == len(futures)


def topics(bootstrap_servers: str) -> set[str]:
    """The names of all topics."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    return set(admin.list_topics(timeout=LIMIT_S).topics)


def produce(bootstrap_servers: str, topic: str, values: list[bytes], limit_s: float = LIMIT_S) -> None:
    """Sends records and returns once every one of them is acknowledged by all replicas.

    Raises:
        KafkaException: the first of the broker's refusals, or a time-out after `limit_s`.
    """
    settings = {"bootstrap.servers": bootstrap_servers, "log_level": 0, "acks": "all"}
    producer = Producer({**settings, "message.timeout.ms": int(limit_s * 1000)})
    outcomes: list[KafkaError | None] = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: outcomes.append(error))
    producer.flush(2 * limit_s)
    assert len(outcomes) == len(values)
    for error in outcomes:
        if error is not None:
            raise KafkaException(error)


def read(bootstrap_servers: str, topic: str, count: int) -> list[bytes | None]:
    """The first records of a topic's partition 0, at most `count`."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "log_level": 0, "group.id": f"read-{topic}"})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        return [message.value() for message in consumer.consume(count, LIMIT_S)]
    finally:
        consumer.close()


def committed_offset(bootstrap_servers: str, topic: str, commit: int | None = None) -> int:
    """The group's committed offset of partition 0, after committing one if `commit` is given."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "log_level": 0, "group.id": f"commit-{topic}"})
    try:
        if commit is not None:
            consumer.commit(offsets=[TopicPartition(topic, 0, commit)], asynchronous=False)
        return int(consumer.committed([TopicPartition(topic, 0)], timeout=LIMIT_S)[0].offset)
    finally:
        consumer.close()
