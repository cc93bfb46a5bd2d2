"""`python -m nestjs_mesh.healthcheck [HOST:PORT]`: exit 0 when an HTTP/2 peer answers there with its SETTINGS."""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl
from typing import List, Optional

from .connection import Connection
from .dialling import dial
from .errors import MeshError


async def check(host: str, port: int, ca: Optional[str] = None) -> None:
    """Connects and exchanges SETTINGS; raises MeshError when that fails. `ca` makes it TLS."""
    tls = None
    if ca is not None:
        tls = ssl.create_default_context(cafile=ca)
        tls.set_alpn_protocols(["h2"])
    connection = Connection()
    await dial(connection, host, port, tls)
    await connection.close()


def main(arguments: Optional[List[str]] = None) -> int:
    """The exit code: 0 healthy, 1 not."""
    parser = argparse.ArgumentParser(description="Is a mesh peer listening?")
    port = os.environ.get("MESH_PORT", "")
    parser.add_argument("address", nargs="?", default=f"127.0.0.1:{port}" if port else None, help="HOST:PORT")
    parser.add_argument("--ca", help="CA file; makes the check use TLS")
    options = parser.parse_args(arguments)
    host, _, number = (options.address or "").rpartition(":")
    if not number.isdigit():
        parser.error("give HOST:PORT, or set MESH_PORT to the peer's port")
    try:
        asyncio.run(check(host or "127.0.0.1", int(number), options.ca))
    except MeshError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
