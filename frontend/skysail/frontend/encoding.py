"""Content-Encoding, both ways: gzip and deflate, within bounds, and large bodies not on the event loop."""

from __future__ import annotations

import asyncio
import zlib

from skysail.topics.errors import BadInputError, PayloadTooLargeError

__all__ = ["compress", "decompress"]

#: From here on a body is worth its compression, and (a millisecond of work) worth a thread.
_WORTHWHILE_BYTES = 1024
_THREAD_BYTES = 64 * 1024
#: Least work; the network in front of a frontend is fast.
_LEVEL = 1


async def decompress(body: bytes, encoding: bytes | None, limit: int) -> bytes:
    """Undo a request's Content-Encoding, reading no more than `limit` bytes out of it.

    Raises:
        BadInputError: for another encoding, or bytes that are not in it.
        PayloadTooLargeError: when more would come out.
    """
    name = (encoding or b"identity").decode("latin-1").strip().lower()
    if name == "identity":
        return body
    if name not in ("gzip", "x-gzip", "deflate"):
        message = f"Content-Encoding {name[:40]!r}: expected gzip, deflate or identity"
        raise BadInputError(message)
    # What comes out is not known before: a few KiB may hold megabytes.
    if len(body) > _WORTHWHILE_BYTES:
        return await asyncio.to_thread(_decompress, body, name, limit)
    return _decompress(body, name, limit)


def _decompress(body: bytes, name: str, limit: int) -> bytes:
    unzip = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip or zlib, whichever the header says
    try:
        plain = unzip.decompress(body, limit + 1)
    except zlib.error as error:
        message = f"the body is not {name}: {error}"
        raise BadInputError(message) from None
    if len(plain) > limit or unzip.unconsumed_tail:
        message = f"the request body is larger than {limit} bytes when decompressed"
        raise PayloadTooLargeError(message)
    if not unzip.eof or unzip.unused_data:
        message = f"the {name} body {'goes on behind its end' if unzip.eof else 'is cut short'}"
        raise BadInputError(message)
    return plain


async def compress(body: bytes, accepted: bytes | None) -> tuple[bytes, bytes | None]:
    """The body and its encoding: gzip or deflate where Accept-Encoding asks for one and it is worthwhile, else None."""
    if accepted is None or len(body) < _WORTHWHILE_BYTES:
        return body, None
    encoding = _chosen(accepted)
    if encoding is None:
        return body, None
    wbits = zlib.MAX_WBITS | 16 if encoding == b"gzip" else zlib.MAX_WBITS
    if len(body) > _THREAD_BYTES:
        return await asyncio.to_thread(_compress, body, wbits), encoding
    return _compress(body, wbits), encoding


def _compress(body: bytes, wbits: int) -> bytes:
    zipper = zlib.compressobj(_LEVEL, wbits=wbits)
    return zipper.compress(body) + zipper.flush()


def _chosen(accepted: bytes) -> bytes | None:
    wanted = {}
    for part in accepted.lower().split(b","):
        name, _, quality = part.partition(b";")
        wanted[name.strip()] = quality.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return next((name for name in (b"gzip", b"deflate") if wanted.get(name, wanted.get(b"*", False))), None)
