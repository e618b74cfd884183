import pytest
from confluent_kafka import KafkaException

from tests.house.records import committed_offset, create_topic, produce, read, topics
from tests.services import Kafka, Service, Tansu
from tests.services.factory import Factory
from tests.services.readiness import broker_answers
from tests.waiting import wait_until

VALUES = [str(number).encode() for number in range(100)]


def filled(service: Service, topic: str) -> str:
    create_topic(service.address, topic)
    produce(service.address, topic, VALUES)
    return service.address


def test_a_record_can_be_read_back_from_each_broker(bootstrap_servers: str, namespace: str) -> None:
    create_topic(bootstrap_servers, namespace)
    produce(bootstrap_servers, namespace, VALUES)

    assert read(bootstrap_servers, namespace, len(VALUES)) == VALUES


def test_kafka_makes_no_topic_by_itself(kafka: Kafka, namespace: str) -> None:
    with pytest.raises(KafkaException):
        produce(kafka.address, namespace, [b"1"], limit_s=1)

    assert namespace not in topics(kafka.address)


def test_a_restarted_kafka_has_its_records_and_offsets(own_kafka: Factory[Kafka]) -> None:
    kafka = own_kafka()
    address = filled(kafka, "kept")
    committed_offset(address, "kept", commit=40)
    first = kafka.pid

    kafka.restart()

    assert kafka.pid != first
    assert kafka.address == address
    assert read(address, "kept", len(VALUES)) == VALUES
    assert committed_offset(address, "kept") == 40


def test_a_killed_kafka_has_all_that_it_acknowledged(own_kafka: Factory[Kafka]) -> None:
    kafka = own_kafka()
    address = filled(kafka, "kept")

    kafka.kill()
    assert not broker_answers(kafka.port)
    kafka.start()

    assert read(address, "kept", len(VALUES)) == VALUES


def test_a_kafka_that_lost_its_data_has_no_topic(own_kafka: Factory[Kafka]) -> None:
    kafka = own_kafka()
    address = filled(kafka, "gone")

    kafka.restart(keep_data=False)

    assert kafka.address == address
    assert "gone" not in topics(address)


def test_a_paused_kafka_keeps_its_connections_but_does_not_answer(own_kafka: Factory[Kafka]) -> None:
    kafka = own_kafka()

    kafka.pause()
    assert kafka.is_running
    assert not broker_answers(kafka.port)
    kafka.resume()

    assert wait_until(lambda: broker_answers(kafka.port), 20, "an answer after the pause")


def test_a_kafka_takes_properties_of_its_own(own_kafka: Factory[Kafka]) -> None:
    kafka = own_kafka(properties={"message.max.bytes": "1000"})
    create_topic(kafka.address, "small")

    with pytest.raises(KafkaException, match="MSG_SIZE_TOO_LARGE"):
        produce(kafka.address, "small", [b"x" * 2000])


def test_the_embedded_broker_forgets_its_topics_at_a_restart(own_embedded_broker: Factory[Tansu]) -> None:
    broker = own_embedded_broker()
    address = filled(broker, "gone")

    broker.restart()

    assert broker.address == address
    assert "gone" not in topics(address)
