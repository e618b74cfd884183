"""Ports for servers that are stopped and started again on the same one."""

import random
import socket
from collections.abc import Callable

__all__ = ["HOST", "free_port"]

HOST = "127.0.0.1"

# Below the kernel's ephemeral range (from 32768). A client that keeps connecting to a stopped server's port may be
# given that very port as its own end, connect to itself, and so keep the server from ever listening there again.
LOWEST, HIGHEST = 20_000, 32_000

_given: set[int] = set()
_draw = random.SystemRandom().randint


def free_port(draw: Callable[[int, int], int] = _draw) -> int:
    """A port of 127.0.0.1 that nobody listens on, never given twice by this process."""
    while True:
        port = draw(LOWEST, HIGHEST)
        if port not in _given and _can_listen(port):
            _given.add(port)
            return port


def _can_listen(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
        return True
