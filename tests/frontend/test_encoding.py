"""Content-Encoding, both ways, within bounds."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skysail.frontend.encoding import compress, decompress
from skysail.topics.errors import BadInputError, PayloadTooLargeError

LIMIT = 1 << 20


@given(st.binary(max_size=4000), st.sampled_from(["gzip", "deflate", "x-gzip", " GZip "]))
async def test_what_was_compressed_comes_out_again(body: bytes, encoding: str) -> None:
    packed = zlib.compress(body) if encoding == "deflate" else gzip.compress(body)
    assert await decompress(packed, encoding.encode(), LIMIT) == body


@given(st.binary(max_size=3000).map(lambda part: part * 40), st.sampled_from([b"gzip", b"deflate", b"br, gzip;q=0.5"]))
async def test_what_is_compressed_for_a_client_can_be_read_by_it(body: bytes, accepted: bytes) -> None:
    packed, encoding = await compress(body, accepted)
    if encoding is None:
        assert (packed, len(body) < 1024) == (body, True)
    else:
        assert await decompress(packed, encoding, LIMIT) == body


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (None, None),
        (b"", None),
        (b"identity", None),
        (b"br", None),
        (b"gzip", b"gzip"),
        (b"deflate", b"deflate"),
        (b"deflate, GZIP", b"gzip"),
        (b"gzip;q=0, deflate", b"deflate"),
        (b"gzip; q=0.0", None),
        (b"*", b"gzip"),
        (b"*;q=0", None),
        (b"gzip;q=0, *", b"deflate"),
        (b"gzippy", None),
    ],
)
async def test_an_encoding_is_used_when_the_client_takes_it(accepted: bytes | None, chosen: bytes | None) -> None:
    assert (await compress(b"x" * 5000, accepted))[1] == chosen


@pytest.mark.parametrize("size", [100, 200_000])  # on the event loop, and on a thread
async def test_a_bomb_is_refused_without_being_unpacked(size: int) -> None:
    bomb = gzip.compress(b"\0" * size * 50)
    with pytest.raises(PayloadTooLargeError, match="larger than"):
        await decompress(bomb, b"gzip", size)
    assert len(await decompress(gzip.compress(b"\0" * size), b"gzip", size)) == size
    with pytest.raises(PayloadTooLargeError):
        await decompress(gzip.compress(b"\0" * (size + 1)), b"gzip", size)


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (b"plain", b"gzip", "is not gzip"),
        (b"", b"gzip", "cut short"),
        (gzip.compress(b"x" * 9000)[:-9], b"gzip", "cut short"),
        (gzip.compress(b"x") + b"more", b"gzip", "goes on"),
        (zlib.compress(b"x")[:-1], b"deflate", "cut short"),
        (b"x", b"br", "'br': expected gzip"),
        (b"x", b"gzip, deflate", "expected gzip"),
        (b"x", b"\xff" * 500, "expected gzip"),
    ],
)
async def test_a_body_that_is_not_what_its_header_says_is_refused(body: bytes, encoding: bytes, reason: str) -> None:
    with pytest.raises(BadInputError, match=reason):
        await decompress(body, encoding, LIMIT)
