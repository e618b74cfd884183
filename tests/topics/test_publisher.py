from __future__ import annotations

import pytest

from skysail.topics.errors import UnavailableError
from skysail.topics.kafka.publisher import Publisher
from tests.services import Kafka
from tests.topics.kafka_ends import make_topics, read_all


def test_a_record_is_stored_when_publish_returns(kafka: Kafka, namespace: str) -> None:
    make_topics(kafka.address, {namespace: 1})
    publisher = Publisher({"bootstrap.servers": kafka.address})
    publisher.publish(namespace, b"value", b"key", [("h", b"\xff")], timeout_s=10)
    (message,) = read_all(kafka.address, namespace, 1, 1)
    assert (message.value(), message.key(), message.headers()) == (b"value", b"key", [("h", b"\xff")])
    publisher.close()
    publisher.close()


def test_a_record_that_the_broker_does_not_confirm_is_an_error_that_says_why(kafka: Kafka, namespace: str) -> None:
    publisher = Publisher({"bootstrap.servers": kafka.address})
    with pytest.raises(UnavailableError, match="the broker did not store the record: "):
        publisher.publish(namespace, b"", None, [], timeout_s=10)
    publisher.close()
    absent = Publisher({"bootstrap.servers": "127.0.0.1:1"})
    with pytest.raises(UnavailableError, match=r"no answer within 0\.2 s"):
        absent.publish(namespace, b"", None, [], timeout_s=0.2)
    with pytest.raises(UnavailableError, match="the broker did not take the record"):
        absent.publish(namespace, bytes(40 * 1024 * 1024), None, [], timeout_s=0.2)
