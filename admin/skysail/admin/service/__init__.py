"""What can be done to a deployment, and the rules of it. The APIs are thin layers over this."""

from __future__ import annotations

from skysail.admin.service.service import AdminService

__all__ = ["AdminService"]
