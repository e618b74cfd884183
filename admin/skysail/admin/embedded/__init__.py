"""`skysail up`: a broker, a store, a frontend and the admin process on one machine, as supervised children."""

from __future__ import annotations

from skysail.admin.embedded.control import down, start_detached, status
from skysail.admin.embedded.options import StackError, StackOptions
from skysail.admin.embedded.stack import Stack

__all__ = ["Stack", "StackError", "StackOptions", "down", "start_detached", "status"]
