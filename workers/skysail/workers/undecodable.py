"""What can still be told to the sender of a record that cannot be decoded."""

from __future__ import annotations

from contextlib import suppress

from skysail.topics.records import ConsumedRecord, Query

__all__ = ["salvage"]


def salvage(record: ConsumedRecord) -> Query | None:
    """A query with the record's id and reply address, to answer; None when either is missing or unreadable."""
    headers = dict(record.headers or ())
    with suppress(UnicodeDecodeError):
        query_id = (headers.get("skysail-id") or b"").decode()
        reply_to = (headers.get("skysail-reply-to") or b"").decode()
        if query_id and reply_to.startswith(("redis:", "kafka:")):
            return Query(query_id, b"", reply_to=reply_to, correlation_id=headers.get("correlation-id"))
    return None
