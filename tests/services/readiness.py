"""Whether a broker or a store answers its clients."""

import socket

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.services.ports import HOST

__all__ = ["broker_answers", "store_answers"]


def broker_answers(port: int) -> bool:
    """Whether the broker names itself to a Kafka client: it listens, and its controller has let it in."""
    if not _listens(port):  # a closed port is asked often while a server starts; this is cheaper than a client
        return False
    client = AdminClient({"bootstrap.servers": f"{HOST}:{port}", "log_level": 0})
    try:
        metadata = client.list_topics(timeout=1)
    except KafkaException:
        return False
    return bool(metadata.brokers)


def store_answers(port: int) -> bool:
    """Whether the store answers PING, which it refuses while it loads its data."""
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64) == b"+PONG\r\n"
    except OSError:
        return False


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
