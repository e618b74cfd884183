"""What the readers of all input types have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from skysail.topics.errors import BadInputError
from skysail.topics.payloads import decode_json
from skysail.topics.records import Query
from skysail.workers.work import Work

__all__ = ["InputReader", "check_rows", "decode_typed"]


class InputReader(Protocol):
    """Reads payloads of one input type."""

    def read(self, work: Work) -> None:
        """Fill `work.rows`, `work.data` and `work.layout` from the query's payload.

        Raises:
            DecodeError: when the payload's bytes are not what its content type says.
            BadInputError: when they are, but not what the model takes; the text names what was expected.
        """
        ...

    def groups(self, works: Sequence[Work]) -> list[Sequence[Work]]:
        """Split what cannot be one call of predict (tensors of unequal shapes); most types never need it."""
        ...

    def join(self, works: Sequence[Work]) -> Any:
        """One batch for predict from works that have been read. May be called again for a part of them."""
        ...


def decode_typed(decoder: msgspec.json.Decoder[Any], payload: bytes, expected: str) -> Any:
    """JSON of the decoder's type.

    Raises:
        DecodeError: when it is not JSON at all.
        BadInputError: when it is JSON of another type; `expected` says which was wanted, for people.
    """
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        decode_json(payload)  # the decoder stops at the first wrong type, and what follows may be no JSON at all
        message = f"expected {expected}: {error}"
        raise BadInputError(message) from None


def check_rows(query: Query, rows: int, *, self_describing: bool = False) -> None:
    """Compare the rows found in a payload with the record's header.

    A tensor payload is self-describing: without a header its query says one row, and the payload decides.

    Raises:
        BadInputError: when they differ, or there are none.
    """
    if rows < 1:
        message = "the payload holds no row: expected at least one"
        raise BadInputError(message)
    if rows != query.rows and not (self_describing and query.rows == 1):
        message = f"skysail-rows says {query.rows}, the payload holds {rows}"
        raise BadInputError(message)
