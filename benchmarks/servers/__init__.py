"""The servers that are compared, each with one worker and the same model file."""

from __future__ import annotations

from benchmarks.servers.base import Server
from benchmarks.servers.peers import PEERS
from benchmarks.servers.stack import Skysail, SkysailEmbedded
from benchmarks.servers.venvs import PeerUnavailableError

__all__ = ["PEERS", "SERVERS", "PeerUnavailableError", "Server", "Skysail", "SkysailEmbedded"]

SERVERS: dict[str, type[Server]] = {"skysail": Skysail, "skysail-embedded": SkysailEmbedded, **PEERS}
