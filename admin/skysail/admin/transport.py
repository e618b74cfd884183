"""HTTP to the admin process: paths from names, answers to values, refusals to typed errors."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import httpx

from skysail.admin.addresses import is_this_machine
from skysail.admin.client_errors import error_of
from skysail.topics.errors import UnavailableError

__all__ = ["PATIENT_S", "Transport", "zipped"]

_TIMEOUT_S = 30.0
#: For calls that are answered when workers are ready, or have drained: the admin process has a limit of its own.
PATIENT_S = 1800.0


class Transport:
    """A blocking client of ``/api/v1``. Connects on the first call."""

    def __init__(self, admin_url: str) -> None:
        self.admin_url = admin_url.rstrip("/")
        self._http: httpx.Client | None = None

    def call(self, method: str, *path: str, timeout_s: float = _TIMEOUT_S, **options: Any) -> Any:
        """The answer's JSON value, None without one.

        Args:
            method: of HTTP.
            path: segments below ``/api/v1``; each may hold any character.
            timeout_s: how long the admin process may be silent.
            options: of `httpx.Client.request`.

        Raises:
            SkysailError: the one that the refusal means.
            UnavailableError: when the admin process does not answer.
        """
        url = "/".join((f"{self.admin_url}/api/v1", *(quote(segment, safe="") for segment in path)))
        if self._http is None:
            self._http = httpx.Client(trust_env=not is_this_machine(url))
        try:
            answer = self._http.request(method, url, timeout=timeout_s, **options)
        except httpx.HTTPError as error:
            message = f"the admin process at {self.admin_url} does not answer: {str(error) or type(error).__name__}"
            raise UnavailableError(message) from error
        if not answer.is_success:
            raise error_of(answer)
        return answer.json() if answer.content else None

    def close(self) -> None:
        """Let go of the connections; the next call makes new ones."""
        if self._http is not None:
            self._http.close()
            self._http = None


@contextmanager
def zipped(folder: Path) -> Iterator[IO[bytes]]:
    """The files of a folder as a zip, in a file: a model may be larger than memory has room for twice."""
    with tempfile.TemporaryFile() as packed:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(folder).as_posix())
        packed.seek(0)
        yield packed
