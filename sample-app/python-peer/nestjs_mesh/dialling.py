"""Connecting to another node."""

from __future__ import annotations

import asyncio
import ssl
from typing import Optional

from .connection import Connection
from .errors import MeshError, unavailable
from .keep_alive import CONNECT_TIMEOUT


async def dial(connection: Connection, host: str, port: int, tls: Optional[ssl.SSLContext]) -> None:
    """Connects; returns once the other side's SETTINGS have come, or raises MeshError (`not-sent`)."""

    async def connect() -> None:
        await connection.loop.create_connection(lambda: connection, host, port, ssl=tls)
        await connection.ready

    try:
        await asyncio.wait_for(connect(), CONNECT_TIMEOUT)
        return
    except asyncio.TimeoutError:
        error = unavailable(f"{host}:{port} did not answer within {CONNECT_TIMEOUT:g} s", "not-sent")
    except MeshError as failure:
        error = unavailable(failure.message, "not-sent")
    except OSError as failure:
        error = unavailable(f"cannot connect to {host}:{port}: {failure}", "not-sent")
    connection.fail(error)
    raise error
