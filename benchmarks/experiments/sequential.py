"""One connection, one request at a time: latency without any load."""

from __future__ import annotations

import socket
import time

from benchmarks.experiments.openloop import Answer, http_request

__all__ = ["ask_in_turn"]


def ask_in_turn(port: int, app: str, bodies: list[bytes], seconds: float) -> list[Answer]:
    """Answers with their heads, of requests sent one after the other.

    Raises:
        RuntimeError: at the first answer that is not 200.
    """
    requests = [http_request(f"/{app}/predict", body) for body in bodies]
    answers: list[Answer] = []
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.perf_counter()
        while (begin := time.perf_counter()) - start < seconds:
            connection.sendall(requests[len(answers) % len(requests)])
            head, body = _receive(connection)
            if head[9:12] != b"200":
                message = f"{head!r} {body!r}"
                raise RuntimeError(message)
            answers.append(Answer(begin - start, time.perf_counter() - begin, 200, head))
    return answers


def _receive(connection: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    while len(body) < length:
        body += _more(connection)
    return head, body


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        message = "the server closed the connection"
        raise RuntimeError(message)
    return data
