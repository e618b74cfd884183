"""The registry: what is deployed, in Redis hashes, and a stream of changes that every process follows.

Rules about what may be registered are the admin's; this module keeps and hands out what was decided. Each write and its
change notice are one transaction, so a follower can neither miss a change nor see one before it holds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import redis.asyncio

from skysail.topics.errors import ConflictError, NoModelError, NotFoundError
from skysail.topics.names import KeyNames
from skysail.topics.specs import ApplicationSpec, Link, ModelSpec, decode_spec, encode_spec
from skysail.topics.store.connection import STORE_DOWN, STORE_ERRORS, unavailable

__all__ = ["Registry", "RegistrySnapshot"]

_CHANGES_KEPT = 1000

#: Write a field only if it is absent, and say so in the change stream; 0 when it was there.
_CREATE = """
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'kind', ARGV[3], 'name', ARGV[1])
redis.call('SETNX', KEYS[3], '1')
return 1
"""


class RegistrySnapshot(msgspec.Struct, frozen=True):
    """Everything registered at one moment.

    Attributes:
        apps: by name.
        models: by name, then version.
        links: by application.
        current: version by model.
        change_id: last change that the snapshot holds; follow from here.
        whole: False when the store has lost the registry (its data is gone and nothing was restored yet).
    """

    apps: dict[str, ApplicationSpec] = {}
    models: dict[str, dict[str, ModelSpec]] = {}
    links: dict[str, Link] = {}
    current: dict[str, str] = {}
    change_id: str = "0-0"
    whole: bool = False

    def model(self, name: str, version: str | None = None) -> ModelSpec:
        """A version of a model, the current one by default.

        Raises:
            NoModelError: naming the model or version that is not there.
        """
        versions = self.models.get(name)
        if not versions:
            message = f"no model is named {name!r}"
            raise NoModelError(message)
        wanted = self.current.get(name) if version is None else version
        if wanted is None:
            message = f"model {name!r} has no current version"
            raise NoModelError(message)
        spec = versions.get(wanted)
        if spec is None:
            message = f"Requested version: {wanted} does not exist for model: {name}"
            raise NoModelError(message)
        return spec


class Registry:
    """Reads and writes the registry of one namespace.

    Every method raises UnavailableError when the store is away.
    """

    def __init__(self, store: redis.asyncio.Redis, keys: KeyNames) -> None:
        self._store = store
        self._keys = keys

    async def snapshot(self) -> RegistrySnapshot:
        """Everything, read in one transaction."""
        keys = self._keys
        try:
            async with self._store.pipeline(transaction=True) as pipe:
                for key in (keys.apps, keys.models, keys.links, keys.current):
                    pipe.hgetall(key)
                pipe.xrevrange(keys.changes, count=1)
                pipe.exists(keys.epoch)
                apps, models, links, current, last, epoch = await pipe.execute()
        except STORE_ERRORS as error:
            raise unavailable(error) from error
        return RegistrySnapshot(
            apps={name.decode(): decode_spec(ApplicationSpec, value) for name, value in apps.items()},
            models=_by_name(decode_spec(ModelSpec, value) for value in models.values()),
            links={name.decode(): decode_spec(Link, value) for name, value in links.items()},
            current={name.decode(): value.decode() for name, value in current.items()},
            change_id=last[0][0].decode() if last else "0-0",
            whole=bool(epoch),
        )

    async def create_app(self, spec: ApplicationSpec) -> None:
        """Raises ConflictError when the name is taken."""
        await self._create(self._keys.apps, spec.name, spec, "app", f"an application named {spec.name!r} is registered")

    async def create_model(self, spec: ModelSpec) -> None:
        """Raises ConflictError when this version exists."""
        taken = f"model {spec.name!r} has a version {spec.version!r} already; versions are immutable"
        await self._create(self._keys.models, spec.key, spec, "model", taken)

    async def replace_model(self, spec: ModelSpec) -> None:
        """Write a version's operational fields (replicas) anew."""
        await self._write(("HSET", self._keys.models, spec.key, encode_spec(spec)), "model", spec.key)

    async def put_link(self, link: Link) -> None:
        """Join an application to its models, in place of what it was joined to."""
        await self._write(("HSET", self._keys.links, link.app, encode_spec(link)), "link", link.app)

    async def set_current(self, model: str, version: str) -> None:
        """Move a model's pointer."""
        await self._write(("HSET", self._keys.current, model, version), "current", model)

    async def delete_app(self, name: str) -> None:
        """Remove an application and its link. Raises NotFoundError."""
        await self._remove(
            [(self._keys.apps, name), (self._keys.links, name)], "app", f"no application is named {name!r}"
        )

    async def delete_link(self, app: str) -> None:
        """Raises NotFoundError when the application has no link."""
        await self._remove([(self._keys.links, app)], "link", f"application {app!r} is not linked")

    async def delete_model(self, name: str, version: str) -> None:
        """Raises NotFoundError when the version does not exist."""
        field = f"{name}/{version}"
        await self._remove([(self._keys.models, field)], "model", f"model {name!r} has no version {version!r}")

    async def clear_current(self, model: str) -> None:
        """Leave a model without a current version. Raises NotFoundError when it has none."""
        await self._remove([(self._keys.current, model)], "current", f"model {model!r} has no current version")

    async def restore(self, snapshot: RegistrySnapshot) -> None:
        """Write a whole registry into an empty store, in one transaction."""
        keys = self._keys
        models = {spec.key: spec for versions in snapshot.models.values() for spec in versions.values()}
        try:
            async with self._store.pipeline(transaction=True) as pipe:
                for key, specs in ((keys.apps, snapshot.apps), (keys.models, models), (keys.links, snapshot.links)):
                    for field, spec in specs.items():
                        pipe.hset(key, field, encode_spec(spec))
                for model, version in snapshot.current.items():
                    pipe.hset(keys.current, model, version)
                pipe.setnx(keys.epoch, 1)
                pipe.xadd(keys.changes, {"kind": "restored", "name": ""}, maxlen=_CHANGES_KEPT)
                await pipe.execute()
        except STORE_DOWN as error:
            raise unavailable(error) from error

    async def follow(self, block_ms: int = 5000) -> AsyncIterator[RegistrySnapshot]:
        """The registry now, then again after each change (changes that came together count as one).

        Needs a store client whose socket timeout is longer than `block_ms`. Ends by raising UnavailableError when the
        store goes away; follow again then. A store that came back empty is seen as a snapshot that is not `whole`.
        """
        while True:
            snapshot = await self.snapshot()
            yield snapshot
            try:
                while not await self._store.xread({self._keys.changes: snapshot.change_id}, block=block_ms, count=1):
                    if snapshot.whole and not await self._store.exists(self._keys.epoch):
                        break
            except STORE_ERRORS as error:
                raise unavailable(error) from error

    async def _create(self, key: str, field: str, spec: msgspec.Struct, kind: str, taken: str) -> None:
        arguments: tuple[Any, ...] = (field, encode_spec(spec), kind, _CHANGES_KEPT)
        try:
            made = await self._store.eval(_CREATE, 3, key, self._keys.changes, self._keys.epoch, *arguments)
        except STORE_DOWN as error:
            raise unavailable(error) from error
        if not made:
            raise ConflictError(taken)

    async def _write(self, command: tuple[Any, ...], kind: str, name: str) -> Any:
        try:
            async with self._store.pipeline(transaction=True) as pipe:
                pipe.execute_command(*command)
                pipe.xadd(self._keys.changes, {"kind": kind, "name": name}, maxlen=_CHANGES_KEPT)
                pipe.setnx(self._keys.epoch, 1)
                return (await pipe.execute())[0]
        except STORE_DOWN as error:
            raise unavailable(error) from error

    async def _remove(self, fields: list[tuple[str, str]], kind: str, absent: str) -> None:
        try:
            async with self._store.pipeline(transaction=True) as pipe:
                for key, field in fields:
                    pipe.hdel(key, field)
                pipe.xadd(self._keys.changes, {"kind": kind, "name": fields[0][1]}, maxlen=_CHANGES_KEPT)
                removed = (await pipe.execute())[0]
        except STORE_DOWN as error:
            raise unavailable(error) from error
        if not removed:
            raise NotFoundError(absent)


def _by_name(specs: Any) -> dict[str, dict[str, ModelSpec]]:
    models: dict[str, dict[str, ModelSpec]] = {}
    for spec in specs:
        models.setdefault(spec.name, {})[spec.version] = spec
    return models
