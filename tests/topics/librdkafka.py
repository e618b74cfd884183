"""What librdkafka has and confluent-kafka does not offer: fatal errors on demand, headers of any name. Linux only."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import ClassVar

from confluent_kafka import KafkaError

from skysail.topics.kafka.producer import KafkaProducer

__all__ = ["fail_fatally", "produce_with_header"]

#: Of `rd_kafka_vtype_t`.
TOPIC, PARTITION, VALUE, MESSAGE_FLAGS, HEADER = 1, 3, 4, 7, 9
COPY = 2


class _Memory(ctypes.Structure):
    _fields_: ClassVar = [("pointer", ctypes.c_char_p), ("size", ctypes.c_size_t)]


class _Header(ctypes.Structure):
    _fields_: ClassVar = [("name", ctypes.c_char_p), ("value", ctypes.c_char_p), ("size", ctypes.c_ssize_t)]


class _Value(ctypes.Union):
    _fields_: ClassVar = [
        ("text", ctypes.c_char_p),
        ("number", ctypes.c_int32),
        ("memory", _Memory),
        ("header", _Header),
        ("padding", ctypes.c_char * 64),
    ]


class _Argument(ctypes.Structure):
    _fields_: ClassVar = [("kind", ctypes.c_int), ("value", _Value)]


def _library() -> ctypes.CDLL:
    """The copy that confluent-kafka has loaded."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return ctypes.CDLL(next(line.split()[-1] for line in maps if "librdkafka" in line))


def _handle(producer: KafkaProducer) -> ctypes.c_void_p:
    """The client below, which is the first field of confluent's object."""
    return ctypes.c_void_p.from_address(id(producer._client()) + object.__basicsize__)


def fail_fatally(producer: KafkaProducer) -> None:
    """Give the client a fatal error, through the function that librdkafka has for such tests."""
    test_fatal_error = _library().rd_kafka_test_fatal_error
    test_fatal_error.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p]
    assert test_fatal_error(_handle(producer), KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, b"for a test") == 0


def produce_with_header(producer: KafkaProducer, topic: str, name: bytes, value: bytes) -> None:
    """Send `value` to partition 0 with one header, whose name may be any bytes."""
    arguments = (_Argument * 5)(
        _Argument(TOPIC, _Value(text=topic.encode())),
        _Argument(PARTITION, _Value(number=0)),
        _Argument(VALUE, _Value(memory=_Memory(value, len(value)))),
        _Argument(MESSAGE_FLAGS, _Value(number=COPY)),
        _Argument(HEADER, _Value(header=_Header(name, b"1", 1))),
    )
    produce = _library().rd_kafka_produceva
    produce.restype = ctypes.c_void_p
    produce.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    assert produce(_handle(producer), ctypes.addressof(arguments), len(arguments)) is None
