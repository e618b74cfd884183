from __future__ import annotations

from typing import Any

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from skysail.topics.kafka.config import client_config, consumer_config, producer_config

#: A user's file serves all three kinds of client.
USER: dict[str, Any] = {
    "bootstrap.servers": "127.0.0.1:1",
    "client.id": "shop",
    "session.timeout.ms": 45_000,
    "group.instance.id": "one",
    "isolation.level": "read_committed",
    "compression.type": "lz4",
    "acks": "1",
    "enable.idempotence": False,
    "linger.ms": 7,
}


def test_the_users_properties_come_before_ours() -> None:
    assert consumer_config(USER, "g")["session.timeout.ms"] == 45_000
    assert producer_config(USER)["acks"] == "1"
    assert {make["client.id"] for make in (client_config(USER), producer_config(USER), consumer_config(USER, "g"))} == {
        "shop"
    }


def test_each_client_gets_only_what_it_knows() -> None:
    assert not {"session.timeout.ms", "acks", "linger.ms", "group.instance.id"} & client_config(USER).keys()
    assert not {"session.timeout.ms", "group.instance.id", "isolation.level"} & producer_config(USER).keys()
    assert not {"acks", "linger.ms", "compression.type"} & consumer_config(USER, "g").keys()


def test_librdkafka_takes_each_configuration_without_a_warning() -> None:
    warnings: list[str] = []

    class Log:
        def log(self, _level: int, _format: str, *args: object) -> None:
            warnings.extend(str(each) for each in args if "CONFWARN" in str(each))

    for properties in ({"bootstrap.servers": "127.0.0.1:1"}, USER):
        user = {**properties, "log_level": 6}
        AdminClient(client_config(user), logger=Log()).poll(0)
        Producer(producer_config(user), logger=Log()).poll(0)
        consumer = Consumer(consumer_config(user, "g"), logger=Log())
        consumer.poll(0)
        consumer.close()
    assert warnings == []


def test_the_next_generation_protocol_leaves_to_the_broker_what_is_the_brokers() -> None:
    config = consumer_config({"group.protocol": "consumer"}, "g")
    assert not {"partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms"} & config.keys()


def test_a_producer_is_idempotent_and_waits_for_all_replicas_unless_told_otherwise() -> None:
    config = producer_config({})
    assert (config["enable.idempotence"], config["acks"]) == (True, "all")


def test_a_consumer_commits_only_when_told_to() -> None:
    config = consumer_config({}, "g")
    assert (config["enable.auto.commit"], config["enable.auto.offset.store"], config["group.id"]) == (False, False, "g")
