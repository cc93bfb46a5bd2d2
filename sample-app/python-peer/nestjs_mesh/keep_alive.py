"""Whether the other side of a connection is alive."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .errors import unavailable

if TYPE_CHECKING:
    from .connection import Connection

#: Seconds.
CONNECT_TIMEOUT = 5.0
KEEP_ALIVE_INTERVAL = 10.0
KEEP_ALIVE_TIMEOUT = 5.0


async def keep_alive(connection: Connection) -> None:
    """Fails a connection whose other side never speaks, or falls silent."""
    await asyncio.wait({connection.ready}, timeout=CONNECT_TIMEOUT)
    silence = f"sent no HTTP/2 SETTINGS within {CONNECT_TIMEOUT:g} s"
    asked_at = 0.0 if connection.ready.done() else connection.last_received
    while connection.last_received > asked_at:  # anything that arrived proves life, not only the answer to a PING
        await asyncio.sleep(KEEP_ALIVE_INTERVAL)
        asked_at = connection.loop.time()
        connection.ping()
        await asyncio.sleep(KEEP_ALIVE_TIMEOUT)
        silence = f"did not answer a PING within {KEEP_ALIVE_TIMEOUT:g} s"
    connection.abort(
        unavailable(f"{connection.address} {silence}", "unknown" if connection.ready.done() else "not-sent")
    )
