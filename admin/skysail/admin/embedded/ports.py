"""Ports, looked at before anything is started."""

from __future__ import annotations

import errno
import socket

from skysail.admin.embedded.options import StackError, StackOptions

__all__ = ["check_ports"]


def check_ports(options: StackOptions) -> None:
    """Find a port that cannot be had. Raises StackError, which names the part and the flag that changes it."""
    taken: dict[int, str] = {}
    for part, (host, port) in options.ports().items():
        other = taken.setdefault(port, part)
        reason = f"is the {other}'s too" if other != part else _obstacle(host, port)
        if reason is not None:
            message = f"port {port}, wanted for the {part}, {reason}; choose another with --{part}-port"
            raise StackError(message)


def _obstacle(host: str, port: int) -> str | None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier stack may linger
        try:
            listener.bind((host, port))
        except OSError as error:
            return "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used on {host} ({error.strerror})"
    return None
