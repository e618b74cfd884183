"""From an application's name to everything that its predict route needs, worked out once for each registry picture."""

from __future__ import annotations

from typing import Any

from skysail.frontend.inputs import RequestDecoder, RowEncoder
from skysail.topics.client import PredictionClient, Target
from skysail.topics.errors import NoModelError, NotFoundError
from skysail.topics.payloads import encode_json
from skysail.topics.specs import ApplicationSpec

__all__ = ["NO_MODEL", "AppRoute", "AppRoutes"]

#: Clipper's words.
NO_MODEL = "No connected models found for query"


class AppRoute:
    """One application, as the hot path sees it."""

    __slots__ = (
        "_client",
        "_pinned",
        "app",
        "decoder",
        "default",
        "encoder",
        "linked",
        "target",
        "timeout_ms",
        "ttl_s",
    )

    def __init__(self, app: ApplicationSpec, linked: tuple[str, ...], client: PredictionClient) -> None:
        self.app = app
        self.linked = linked
        self.decoder = RequestDecoder(app.input_type)
        self.default: bytes | None = encode_json(app.default_output) if app.has_default else None
        self.timeout_ms = max(1, app.latency_slo_micros // 1000)
        self.ttl_s = app.cache_ttl_s
        self._client = client
        self._pinned: dict[str, tuple[Target, RowEncoder]] = {}
        self.target: Target | None = None
        self.encoder: RowEncoder | None = None
        if linked:
            self.target, self.encoder = self._current(linked[0])

    def _current(self, model: str) -> tuple[Any, Any]:
        try:
            target = self._client.target(model)
        except NoModelError:
            return None, None
        return target, RowEncoder(self.app.input_type, target.spec)

    def pinned(self, version: str) -> tuple[Target, RowEncoder]:
        """The target of a version that the request names.

        Raises:
            NoModelError: when there is no such version, or no model is linked.
        """
        found = self._pinned.get(version)
        if found is None:
            if not self.linked:
                raise NoModelError(NO_MODEL)
            target = self._client.target(self.linked[0], version)
            found = self._pinned[version] = (target, RowEncoder(self.app.input_type, target.spec))
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
        """
        snapshot = self._client.view.snapshot
        if snapshot is not self._snapshot:
            self._snapshot, self._routes = snapshot, {}
        route = self._routes.get(name)
        if route is None:
            app = snapshot.apps.get(name)
            if app is None:
                message = f"no application is named {name!r}"
                raise NotFoundError(message)
            link = snapshot.links.get(name)
            route = self._routes[name] = AppRoute(app, link.models if link else (), self._client)
        return route
