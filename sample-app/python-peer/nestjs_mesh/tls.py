"""TLS for both roles of a node: it accepts connections and dials others with the same certificate."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Tls:
    """The two contexts a node needs; use `from_files` unless you have your own."""

    server: ssl.SSLContext
    client: ssl.SSLContext

    @staticmethod
    def from_files(cert: str, key: str, ca: Optional[str] = None, verify_clients: bool = False) -> Tls:
        """PEM files. `ca` verifies other nodes (default: the system's), with `verify_clients` the callers too.

        Raises ValueError naming the file that cannot be used.
        """
        try:
            server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
            client = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
        except OSError as error:
            raise ValueError(f"TLS: cannot use the ca file {ca!r}: {error}") from error
        try:
            server.load_cert_chain(cert, key)
            client.load_cert_chain(cert, key)
        except OSError as error:
            raise ValueError(f"TLS: cannot use the cert file {cert!r} with the key file {key!r}: {error}") from error
        if verify_clients:
            server.verify_mode = ssl.CERT_REQUIRED
        for context in (server, client):
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols(["h2"])
        return Tls(server, client)
