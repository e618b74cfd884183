"""Stores that ask for a password, also listen on a Unix socket, and speak TLS on a second port."""

from __future__ import annotations

import socket
import subprocess

from tests.services import Redis, Valkey
from tests.services.ports import HOST, free_port

__all__ = ["PASSWORD", "SecuredRedis", "SecuredValkey", "TlsRedis"]

PASSWORD = "p@ss word/%"
ANSWER = b"-NOAUTH"


class SecuredRedis(Redis):
    """The default user has `PASSWORD`; the user `worker` has `secret` and may only PING, GET and SET."""

    @property
    def socket_path(self) -> str:
        return str(self.folder / "store.sock")

    def command(self) -> list[str]:
        users = ["--user", "worker", "on", ">secret", "~*", "-@all", "+ping", "+get", "+set"]
        return [*super().command(), "--requirepass", PASSWORD, "--unixsocket", self.socket_path, *users]

    def is_ready(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(ANSWER)
        except OSError:
            return False


class SecuredValkey(SecuredRedis, Valkey):
    """The same of the embedded store."""


class TlsRedis(Redis):
    """Speaks TLS on `tls_port`, with a certificate of its own making in `certificate`."""

    tls_port = 0

    @property
    def certificate(self) -> str:
        return str(self.folder / "cert.pem")

    def prepare(self) -> None:
        self.tls_port = free_port()
        key = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(self.folder / "key.pem")]
        name = ["-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{HOST}"]
        subprocess.run(
            ["openssl", "req", "-x509", *key, "-out", self.certificate, *name], check=True, capture_output=True
        )

    def command(self) -> list[str]:
        files = ["--tls-cert-file", self.certificate, "--tls-key-file", str(self.folder / "key.pem")]
        return [*super().command(), "--tls-port", str(self.tls_port), *files, "--tls-auth-clients", "no"]
