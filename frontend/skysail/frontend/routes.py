"""From an application's name to everything that its predict route needs, worked out once for each registry picture."""

from __future__ import annotations

from typing import NamedTuple

from skysail.frontend.inputs import RequestDecoder
from skysail.frontend.rows import RowEncoder
from skysail.topics.client import PredictionClient, Target
from skysail.topics.errors import BadInputError, NoModelError, NotFoundError, UnavailableError
from skysail.topics.payloads import encode_json
from skysail.topics.specs import ApplicationSpec

__all__ = ["LONGEST_TIMEOUT_MS", "NO_MODEL", "Aim", "AppRoute", "AppRoutes", "check_registry"]

#: Clipper's words.
NO_MODEL = "No connected models found for query"
#: A deadline further away is no deadline; a day is longer than any connection waits.
LONGEST_TIMEOUT_MS = 24 * 60 * 60 * 1000
#: Longer versions cannot exist, and are not quoted back.
_LONGEST_VERSION = 63


class Aim(NamedTuple):
    """Where an application's rows go, and in which form."""

    target: Target
    encoder: RowEncoder


class AppRoute:
    """One application, as the hot path sees it.

    Attributes:
        default: the default output as JSON, None where there is none.
        timeout_ms: from the arrival of a request to its answer.
    """

    __slots__ = ("_client", "_current", "_linked", "_pinned", "app", "decoder", "default", "timeout_ms", "ttl_s")

    def __init__(self, app: ApplicationSpec, linked: tuple[str, ...], client: PredictionClient) -> None:
        self.app = app
        self.decoder = RequestDecoder.of(app.input_type)
        self.default: bytes | None = encode_json(app.default_output) if app.has_default else None
        self.timeout_ms = min(max(1, app.latency_slo_micros // 1000), LONGEST_TIMEOUT_MS)
        self.ttl_s = app.cache_ttl_s
        self._client = client
        self._linked = linked
        self._pinned: dict[str, Aim] = {}
        self._current = self._aim(None) if linked else None

    def _aim(self, version: str | None) -> Aim | None:
        try:
            target = self._client.target(self._linked[0], version)
        except NoModelError:
            return None
        return Aim(target, RowEncoder(self.app.input_type, target.spec))

    def aim(self, version: str | int | None) -> Aim:
        """Where a request's rows go: to the linked model's current version, or to the one that the request names.

        Raises:
            NoModelError: when nothing is linked, or what is linked has no current version.
            BadInputError: when there is no such version (Clipper's 400), or no single model that it could be of.
        """
        if version is None:
            if self._current is None:
                raise NoModelError(NO_MODEL)
            return self._current
        name = str(version)
        return self._pinned.get(name) or self._pin(name)

    def _pin(self, version: str) -> Aim:
        if len(self._linked) != 1:
            problem = "Too many models" if self._linked else "No model is"
            message = f"{problem} linked to application {self.app.name}: a version cannot be chosen"
            raise BadInputError(message)
        found = self._aim(version) if len(version) <= _LONGEST_VERSION else None
        if found is None:
            shown = version[:_LONGEST_VERSION]
            message = f"Requested version: {shown} does not exist for model: {self._linked[0]}"
            raise BadInputError(message)
        self._pinned[version] = found
        return found


class AppRoutes:
    """All applications; routes are made on first use and dropped when the registry changes."""

    def __init__(self, client: PredictionClient) -> None:
        self._client = client
        self._snapshot: object = None
        self._routes: dict[str, AppRoute] = {}

    def find(self, name: str) -> AppRoute:
        """The route of an application.

        Raises:
            NotFoundError: when there is no such application.
            UnavailableError: when nobody can know yet.
        """
        snapshot = self._client.view.snapshot
        if snapshot is not self._snapshot:
            self._snapshot, self._routes = snapshot, {}
        route = self._routes.get(name)
        if route is None:
            app = snapshot.apps.get(name)
            if app is None:
                check_registry(self._client)
                message = f"no application is named {name!r}"
                raise NotFoundError(message)
            link = snapshot.links.get(name)
            route = self._routes[name] = AppRoute(app, link.models if link else (), self._client)
        return route


def check_registry(client: PredictionClient) -> None:
    """Before something is said not to exist: raises UnavailableError while the registry has not been read."""
    if not client.view.loaded:
        message = "the registry has not been read yet: the store is away"
        raise UnavailableError(message)
