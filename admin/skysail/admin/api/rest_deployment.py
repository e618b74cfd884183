"""`/api/v1/models/…`: upload, deploy, promote, roll back, scale."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from skysail.admin.api.bodies import answer_json, documented, read_spec
from skysail.admin.service import AdminService
from skysail.topics.errors import BadInputError
from skysail.topics.specs import ModelSpec

__all__ = ["add_deployment"]

_VERSION = "/models/{model}/versions/{version}"
TimeoutS = Annotated[float | None, Query(gt=0, description="how long it may take; SKYSAIL_ADMIN__DEPLOY_TIMEOUT_S")]


class PromoteBody(BaseModel):
    """Which version becomes current."""

    version: str
    replicas: int | None = Field(
        default=None, ge=1, description="workers to run, all ready before it becomes current; as registered by default"
    )


class ScaleBody(BaseModel):
    """How many workers."""

    replicas: int = Field(ge=0, le=1000)


def add_deployment(router: APIRouter, service: AdminService) -> None:
    """What changes what answers."""
    versions = service.versions

    zipped = {"requestBody": {"required": True, "content": {"application/zip": {"schema": {"format": "binary"}}}}}

    @router.put(_VERSION + "/artifact", tags=["deployment"], status_code=201, openapi_extra=zipped)
    async def upload(model: str, version: str, request: Request) -> Response:
        """Store an artifact, for `deploy`. Body: a zip of its folder."""
        return answer_json(await versions.upload(model, version, request.stream()), 201)

    @router.post(_VERSION + "/deploy", tags=["deployment"], openapi_extra=documented(ModelSpec))
    async def deploy(
        model: str, version: str, request: Request, *, promote: bool = True, timeout_s: TimeoutS = None
    ) -> Response:
        """Deploy a version whose artifact is stored; answers when it is ready, or with its worker's own traceback."""
        spec = await read_spec(ModelSpec, request)
        if (spec.name, spec.version) != (model, version):
            message = f"the body is of {spec.key}, the path of {model}/{version}"
            raise BadInputError(message)
        await versions.deploy(spec, promote=promote, timeout_s=timeout_s)
        return answer_json({"name": model, "version": version, "current": promote, "warning": _warning(spec)})

    @router.post("/models/{model}/promote", tags=["deployment"])
    async def promote_version(model: str, body: PromoteBody, timeout_s: TimeoutS = None) -> Response:
        """Make a version current, once it is ready; it gets workers where it has none."""
        await versions.promote(model, body.version, replicas=body.replicas, timeout_s=timeout_s)
        return answer_json({"name": model, "current": body.version})

    @router.post("/models/{model}/rollback", tags=["deployment"])
    async def rollback(model: str, timeout_s: TimeoutS = None) -> Response:
        """Make the version current that was current before."""
        return answer_json({"name": model, "current": await versions.rollback(model, timeout_s)})

    @router.post("/models/{model}/scale", tags=["deployment"])
    @router.post(_VERSION + "/scale", tags=["deployment"])
    async def scale(model: str, body: ScaleBody, version: str | None = None) -> Response:
        """Run so many workers, of the current version by default; answers when those beyond have drained."""
        spec = await versions.scale(model, version, body.replicas)
        return answer_json(
            {"name": model, "version": spec.version, "replicas": spec.replicas, "warning": _warning(spec)}
        )


def _warning(spec: ModelSpec) -> str:
    idle = spec.replicas - spec.partitions
    if idle <= 0:
        return ""
    return f"the topics have {spec.partitions} partitions: {idle} of {spec.replicas} workers will have nothing to do"
