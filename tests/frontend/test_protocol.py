"""What goes out on the socket, and in how many pieces."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest
import uvicorn

from skysail.frontend.asgi import Frontend
from skysail.frontend.behind import Behind
from skysail.frontend.clipper import ClipperPredict
from skysail.frontend.http import Receive, Request, Response, Scope, Send, respond
from skysail.frontend.oip import OipInfer
from skysail.frontend.protocol import FrontendProtocol, JoiningTransport

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


class Doors:
    """A frontend whose handlers say what they were asked, when they are told to."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.long_way = 0
        self.answered = 0
        self.frontend = Frontend(
            predict=cast("ClipperPredict", self.predict),
            infer=cast("OipInfer", self.predict),
            rest=cast("Behind", self.rest),
            new_id=lambda: "id",
            on_start=self.nothing,
            on_stop=self.nothing,
        )

    async def nothing(self) -> None: ...

    async def predict(self, app: str, request: Request) -> Response:
        body = await request.read_body(1_000_000)
        await self.open.wait()
        self.answered += 1
        if body == b"boom":
            raise ZeroDivisionError
        return Response(
            200, b"%b:%d:%b" % (app.encode(), len(body), body[:20]), [(b"x-request-id", request.request_id)]
        )

    async def rest(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await respond(send, Response(200, b"rest:" + scope["path"].encode(), []))


class Counting(Frontend):
    """Counts what goes the long way."""

    def __init__(self, doors: Doors) -> None:
        self.__dict__.update(doors.frontend.__dict__)
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._doors.long_way += 1
        await super().__call__(scope, receive, send)


class Running:
    """A server in front of them."""

    def __init__(self, doors: Doors, keep_alive_s: int) -> None:
        self.doors = doors
        self._writers: list[asyncio.StreamWriter] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            Counting(doors),
            http=FrontendProtocol,
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
            log_config=None,
            timeout_keep_alive=keep_alive_s,
        )
        self.server = uvicorn.Server(config)
        self.serving = asyncio.create_task(self.server._serve([self._listener]))

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self._listener.getsockname())
        self._writers.append(writer)
        return reader, writer

    async def stop(self) -> None:
        for writer in self._writers:
            writer.close()
        self.server.should_exit = True
        await asyncio.wait_for(self.serving, 20)
        self._listener.close()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Running]]:
    running: list[Running] = []

    def start(keep_alive_s: int = 75) -> Running:
        running.append(Running(Doors(), keep_alive_s))
        return running[-1]

    yield start
    for one in running:
        one.doors.open.set()
        await one.stop()


def post(path: bytes = b"/a/predict", body: bytes = b"{}", *lines: bytes, version: bytes = b"1.1") -> bytes:
    head = b"".join(line + b"\r\n" for line in (b"Host: x", b"Content-Length: %d" % len(body), *lines))
    return b"POST %b HTTP/%b\r\n%b\r\n%b" % (path, version, head, body)


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[bytes, bytes], bytes]:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    first, *lines = head[:-4].split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines)
    return int(first.split()[1]), headers, await reader.readexactly(int(headers[b"content-length"]))


async def test_an_answer_of_the_server_is_one_piece(serve: Callable[..., Running]) -> None:
    running = serve()
    reader, writer = await running.connect()
    for request, body in (
        (post(), b"a:2:{}"),
        (b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n", b"rest:/x"),
        (post(), b"a:2:{}"),
    ):
        writer.write(request)
        piece = await asyncio.wait_for(reader.read(65536), 10)
        assert piece.startswith(b"HTTP/1.1 200 OK\r\n")
        assert piece.endswith(b"\r\n\r\n" + body)
        assert b"\r\ndate: " in piece
    assert running.doors.long_way == 1


@pytest.mark.parametrize(
    ("request_bytes", "body"),
    [
        (post(b"/a/predict?x=1"), b"a:2:{}"),
        (post(b"/%61/predict"), b"a:2:{}"),
        (post(b"/a/predict/"), b"a:2:{}"),
        (post(body=b"x" * 70_000), b"a:70000:" + b"x" * 20),
        (post(b"/a/predict", b"{}", b"Connection: close"), b"a:2:{}"),
        (post(version=b"1.0"), b"a:2:{}"),
        (post(b"/a/b/predict"), b"rest:/a/b/predict"),
        (
            b"POST /a/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
            b"a:2:{}",
        ),
    ],
)
async def test_a_special_request_has_the_same_answer_the_long_way(
    serve: Callable[..., Running], request_bytes: bytes, body: bytes
) -> None:
    running = serve()
    reader, writer = await running.connect()
    writer.write(request_bytes)
    assert (await answer_of(reader))[2] == body
    assert running.doors.long_way == 1


async def test_a_client_that_asks_whether_to_send_its_body_is_told(serve: Callable[..., Running]) -> None:
    reader, writer = await serve().connect()
    writer.write(post(b"/a/predict", b"{}", b"Expect: 100-continue")[:-2])
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"{}")
    assert (await answer_of(reader))[2] == b"a:2:{}"


async def test_a_request_may_come_in_any_pieces(serve: Callable[..., Running]) -> None:
    running = serve()
    reader, writer = await running.connect()
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in post(body=b"[1, 2, 3]"):
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    assert (await answer_of(reader))[2] == b"a:9:[1, 2, 3]"
    assert not running.doors.long_way


async def test_pipelined_requests_are_answered_in_order(serve: Callable[..., Running]) -> None:
    running = serve()
    running.doors.open.clear()
    reader, writer = await running.connect()
    writer.write(
        post(b"/a/predict") + post(b"/b/predict") + b"GET /c HTTP/1.1\r\nHost: x\r\n\r\n" + post(b"/d/predict")
    )
    await asyncio.sleep(0.05)
    running.doors.open.set()
    bodies = [(await answer_of(reader))[2] for _ in range(4)]
    assert bodies == [b"a:2:{}", b"b:2:{}", b"rest:/c", b"d:2:{}"]
    writer.write(post(b"/e/predict"))
    assert (await answer_of(reader))[2] == b"e:2:{}"


async def test_a_fault_is_told_in_json_and_the_connection_goes_on(serve: Callable[..., Running]) -> None:
    reader, writer = await serve().connect()
    writer.write(post(body=b"boom"))
    status, headers, body = await answer_of(reader)
    assert (status, json.loads(body)["error"], headers[b"x-request-id"]) == (500, "Internal error", b"id")
    writer.write(post())
    assert (await answer_of(reader))[0] == 200


async def test_a_query_is_brought_to_its_end_though_its_client_has_gone(serve: Callable[..., Running]) -> None:
    running = serve()
    running.doors.open.clear()
    _, writer = await running.connect()
    writer.write(post())
    await until(lambda: bool(running.server.server_state.connections))
    await asyncio.sleep(0.05)
    writer.close()
    await until(lambda: not running.server.server_state.connections)
    running.doors.open.set()
    await until(lambda: running.doors.answered == 1)


async def test_what_is_in_flight_is_answered_before_the_server_ends(serve: Callable[..., Running]) -> None:
    running = serve()
    running.doors.open.clear()
    reader, writer = await running.connect()
    idle, _ = await running.connect()
    writer.write(post())
    await until(lambda: len(running.server.server_state.connections) == 2)
    await asyncio.sleep(0.05)
    running.server.should_exit = True
    assert await asyncio.wait_for(idle.read(), 10) == b""
    running.doors.open.set()
    status, headers, _ = await answer_of(reader)
    assert (status, headers[b"connection"]) == (200, b"close")
    assert await asyncio.wait_for(reader.read(), 10) == b""


async def test_a_connection_is_closed_when_it_has_been_idle_and_not_while_it_is_busy(
    serve: Callable[..., Running],
) -> None:
    running = serve(keep_alive_s=1)
    running.doors.open.clear()
    reader, writer = await running.connect()
    idle, _ = await running.connect()
    writer.write(post())
    assert await asyncio.wait_for(idle.read(), 10) == b""
    running.doors.open.set()
    assert (await answer_of(reader))[0] == 200
    assert await asyncio.wait_for(reader.read(), 10) == b""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what the server does is not announced
            await asyncio.sleep(0.005)
