"""What goes out on the socket, and in how many pieces."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import pytest
import uvicorn

from skysail.frontend.http import JSON_TYPE, Receive, Scope, Send, respond
from skysail.frontend.protocol import JoiningTransport, OneWriteProtocol

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Recorder:
    """A transport that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def close(self) -> None:
        self.told.append(b"<closed>")

    def is_closing(self) -> bool:
        return b"<closed>" in self.told

    def get_extra_info(self, name: str) -> str:
        return name


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ([HEAD, b"{}"], [HEAD + b"{}"]),
        ([HEAD, b"{}", HEAD, b"[]"], [HEAD + b"{}", HEAD + b"[]"]),
        ([HEAD, b"2\r\n{}\r\n", b"0\r\n\r\n"], [HEAD + b"2\r\n{}\r\n", b"0\r\n\r\n"]),
        ([HEAD, b""], [HEAD]),  # to HEAD, and with 204 and 304
        ([b"HTTP/1.1 100 Continue\r\n\r\n", HEAD, b"{}"], [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD + b"{}"]),
    ],
)
def test_a_head_goes_out_with_the_first_of_its_body(written: list[bytes], sent: list[bytes]) -> None:
    recorder = Recorder()
    transport = JoiningTransport(cast("asyncio.Transport", recorder))
    for data in written:
        transport.write(data)
    assert recorder.told == sent


def test_a_head_that_nothing_follows_goes_out_when_the_connection_is_closed() -> None:
    recorder = Recorder()
    transport = JoiningTransport(cast("asyncio.Transport", recorder))
    transport.write(HEAD)
    assert not transport.is_closing()
    transport.close()
    assert recorder.told == [HEAD, b"<closed>"]
    assert transport.is_closing()
    assert transport.get_extra_info("peername") == "peername"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await respond(send, 200, b'"%b"' % scope["path"].encode(), [JSON_TYPE])


async def test_an_answer_of_the_server_is_one_piece() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(answer, http=OneWriteProtocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve([listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    for path in (b"/a", b"/b"):
        writer.write(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        piece = await asyncio.wait_for(reader.read(65536), 10)
        assert piece.startswith(b"HTTP/1.1 200 OK\r\n")
        assert piece.endswith(b'\r\n\r\n"%b"' % path)
    writer.close()
    server.should_exit = True
    await asyncio.wait_for(serving, 10)
    listener.close()
