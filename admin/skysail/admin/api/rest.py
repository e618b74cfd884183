"""Skysail's own admin API, `/api/v1`: what Clipper's lacks, and what `Connection` and the command line use."""

from __future__ import annotations

from fastapi import APIRouter

from skysail.admin.api.rest_apps import add_apps
from skysail.admin.api.rest_dead_letters import add_dead_letters
from skysail.admin.api.rest_deployment import add_deployment
from skysail.admin.api.rest_models import add_models
from skysail.admin.api.rest_workers import add_workers
from skysail.admin.service import AdminService

__all__ = ["rest_router"]


def rest_router(service: AdminService) -> APIRouter:
    """`/api/v1/*`."""
    router = APIRouter(prefix="/api/v1")
    for add in (add_apps, add_models, add_deployment, add_workers, add_dead_letters):
        add(router, service)
    return router
