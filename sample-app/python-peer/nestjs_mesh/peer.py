"""The peer: server and client at once. It announces itself, answers, finds others and calls them."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import time
import uuid
from typing import Any, AsyncIterator, Dict, List, Optional, Tuple

from .channel import Channel
from .connection import Connection
from .errors import MeshError
from .frames import DEFAULT_MAX_FRAME_BYTES
from .handlers import DEFAULT_CHANNEL, Handlers
from .headers import check_headers
from .outbound_call import OutboundCall
from .packet_channel import PacketChannel
from .packets import check_metadata, route_of
from .registry import Announcement, NodeRecord, check_service, open_registry
from .router import Reach, Router
from .session import Core, Session
from .tls import Tls

log = logging.getLogger("nestjs_mesh")

#: Seconds.
Timeout = Optional[float]
Metadata = Optional[Dict[str, str]]
DEFAULT_TIMEOUT = 30.0
#: Seconds without an open call after which a draining node is taken to be done with a peer that does not say so.
QUIET = 0.1


class Peer(Handlers):
    """One node of the mesh; the decorators of Handlers say what it answers.

    service -- the name under which others find this node
    registry -- `redis://…`, `rediss://…` or `file:DIR`
    host, port -- where to listen; port 0 takes a free one
    advertise -- `HOST` or `HOST:PORT` to announce instead of what is listened on
    tls -- TLS for listening and dialling; None is cleartext h2c
    metadata -- free-form, announced in the registry
    max_frame_bytes -- the largest message sent or received
    drain_timeout -- seconds that `close()` gives open calls to finish
    """

    def __init__(
        self,
        service: str,
        registry: str = "redis://localhost:6379",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        advertise: Optional[str] = None,
        tls: Optional[Tls] = None,
        metadata: Optional[Dict[str, Any]] = None,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
        drain_timeout: float = 5.0,
    ) -> None:
        super().__init__()
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be in 0 to 65535; got {port}")
        if max_frame_bytes < 1024:
            raise ValueError(f"max_frame_bytes must be at least 1024; got {max_frame_bytes}")
        self.service = check_service(service)
        self.node_id = str(uuid.uuid4())
        #: The port that is listened on, once started.
        self.port = port
        self._host = host
        self._advertise = advertise
        self._tls = tls
        self._metadata = metadata or {}
        self._drain_timeout = drain_timeout
        self._registry = open_registry(registry)
        self._core = Core(self.service, self.node_id, self, max_frame_bytes)
        self._router = Router(self._core, self._registry, tls.client if tls else None)
        self._server: Optional[asyncio.AbstractServer] = None
        self._announcement: Optional[Announcement] = None

    # --- life ---

    async def start(self) -> None:
        """Listens and announces. Raises MeshError when the registry is away or the port is taken."""
        await self._registry.connect()
        try:
            await self._listen()
            record = NodeRecord(self.node_id, self.service, *self._announced_address(), self._metadata)
            self._announcement = Announcement(self._registry, record)
            await self._announcement.start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Withdraws, asks callers for no more, finishes what is open within `drain_timeout`, then disconnects."""
        if self._core.draining:
            return
        self._core.draining = True
        until = time.monotonic() + self._drain_timeout
        if self._announcement is not None:
            await self._announcement.end()
        if self._server is not None:
            self._server.close()
        await self._drain(until)
        self._core.closed = True
        for packets in self._packet_channels():
            packets.stream.end()
        channels = [channel for session in self._router.sessions for channel in session.channels]
        closing = [asyncio.ensure_future(channel.close()) for channel in channels]
        if closing:
            await asyncio.wait(closing, timeout=max(0.05, until - time.monotonic()))
        for task in [*closing, *self._core.tasks]:
            task.cancel()
        await self._router.close()
        await self._registry.close()

    async def _drain(self, until: float) -> None:
        channels = self._packet_channels()
        for packets in channels:
            packets.drain()
        # Requests that crossed our drain packet are still on their way: a peer that has opened a channel ends it behind
        # its last one, and from all others they have come when nothing was open for a moment.
        quiet_since = time.monotonic()
        while time.monotonic() < until:
            busy = any(session.busy for session in self._router.sessions)
            if busy:
                quiet_since = time.monotonic()
            ended = all(packets.stream.closed or packets.stream.remote_ended for packets in channels)
            if (ended and not busy) or time.monotonic() - quiet_since > QUIET:
                return
            await asyncio.sleep(0.01)

    def _packet_channels(self) -> List[PacketChannel]:
        return [packets for session in self._router.sessions for packets in session.packet_channels]

    async def __aenter__(self) -> Peer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _listen(self) -> None:
        loop = asyncio.get_event_loop()
        ssl_context = self._tls.server if self._tls else None
        try:
            self._server = await loop.create_server(self._accept, self._host, self.port, ssl=ssl_context)
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on: {error}"
            message = f"port {self.port} on {self._host} {reason}; choose another host or port (0 takes a free port)"
            raise MeshError("FAILED_PRECONDITION", message, delivery="not-sent") from error
        self.port = self._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined, unused-ignore]
        if not _is_loopback(self._host) and self._tls is None:
            log.warning("listening on %s without TLS: anybody who reaches port %d can call", self._host, self.port)

    def _accept(self) -> Connection:
        session = Session(self._core)
        self._router.sessions.add(session)
        return session.connection

    def _announced_address(self) -> Tuple[str, int]:
        host, port = self._host, self.port
        if self._advertise:
            name, colon, number = self._advertise.rpartition(":")
            if not colon or (":" in name and not self._advertise.startswith("[")):
                host = self._advertise  # a name, or a bare IPv6 address
            elif number.isdigit() and 1 <= int(number) <= 65535:
                host, port = name.strip("[]"), int(number)
            else:
                raise ValueError(f"advertise must be HOST or HOST:PORT; got {self._advertise!r}")
        elif host in ("", "0.0.0.0", "::"):
            host = _own_address()
        return host, port

    # --- calls ---

    async def call(
        self, service: str, pattern: Any, data: Any = None, *, timeout: Timeout = None, metadata: Metadata = None
    ) -> Any:
        """The answer of one node of `service`: its last value, None when it gives none.

        data -- a JSON value, or an async iterable of them: then the handler gets an async iterator
        timeout -- seconds for everything, waiting for the service included; default 30, 0 is none
        Raises RpcError for what the handler threw, MeshError for what went wrong on the way.
        """
        deadline = _deadline(timeout, DEFAULT_TIMEOUT)
        metadata, find = check_metadata(metadata), self._router.find
        call: OutboundCall
        if hasattr(data, "__aiter__"):
            call = await find(service, deadline, self._reach_call(pattern, data, deadline, metadata))
        else:
            packets = await find(service, deadline, self._router.packets_to)
            call = packets.open(pattern, data, deadline, metadata)
        try:
            last: Any = None
            async for value in call:
                last = value
            return last
        except MeshError as error:
            raise error.at(service, None, route_of(pattern)) from None
        finally:
            call.close()

    async def stream(
        self, service: str, pattern: Any, data: Any = None, *, timeout: Timeout = None, metadata: Metadata = None
    ) -> AsyncIterator[Any]:
        """The values of the answer, one by one; closing the iterator cancels the call, a slow reader slows the handler.

        data -- a JSON value, or an async iterable of them: then the handler gets an async iterator
        timeout -- seconds for the whole stream; by default 30 s to find the service, and then no limit
        """
        wait_until, deadline = _deadline(timeout, DEFAULT_TIMEOUT), _deadline(timeout, 0)
        reach = self._reach_call(pattern, data, deadline, check_metadata(metadata))
        call = await self._router.find(service, wait_until, reach)
        try:
            async for value in call:
                yield value
        except MeshError as error:
            raise error.at(service, None, route_of(pattern)) from None
        finally:
            call.close()

    async def emit(
        self, service: str, pattern: Any, data: Any = None, *, timeout: Timeout = None, metadata: Metadata = None
    ) -> None:
        """Sends an event to one node of `service`; returns when the transport has taken it."""
        metadata = check_metadata(metadata)
        packets = await self._router.find(service, _deadline(timeout, DEFAULT_TIMEOUT), self._router.packets_to)
        await packets.emit(pattern, data, metadata)

    async def open_channel(
        self,
        service: str,
        name: Optional[str] = None,
        *,
        metadata: Metadata = None,
        session_id: Optional[str] = None,
        timeout: Timeout = None,
    ) -> Channel:
        """Opens a raw channel to one node of `service`; `metadata` arrives as headers."""
        headers = check_headers(metadata)

        async def reach(node_id: str, record: Optional[NodeRecord], deadline: Optional[float]) -> Channel:
            session = await self._router.session_to(node_id, record, deadline)
            return await session.open_channel(name or DEFAULT_CHANNEL, headers, session_id)

        return await self._router.find(service, _deadline(timeout, DEFAULT_TIMEOUT), reach)

    def _reach_call(
        self, pattern: Any, data: Any, deadline: Optional[float], metadata: Dict[str, str]
    ) -> Reach[OutboundCall]:
        """A call stream where the node has them and we can dial it; else packets, if the input is one value."""

        async def reach(node_id: str, record: Optional[NodeRecord], until: Optional[float]) -> OutboundCall:
            packets = await self._router.packets_to(node_id, record, until)
            try:
                if not packets.peer.extended:
                    raise MeshError("UNIMPLEMENTED", "the peer knows no call streams", delivery="refused")
                session = await self._router.session_to(node_id, record, until)
                return await session.open_call(pattern, data, deadline, metadata)
            except MeshError as error:
                if hasattr(data, "__aiter__") or error.code not in ("UNIMPLEMENTED", "UNAVAILABLE"):
                    raise
            return packets.open(pattern, data, deadline, metadata)

        return reach


def _deadline(timeout: Timeout, default: float) -> Optional[float]:
    """The instant on the event loop's clock; None for a timeout of 0, which is none."""
    seconds = default if timeout is None else timeout
    if seconds < 0:
        raise ValueError(f"timeout must be in seconds, 0 for none; got {timeout}")
    return asyncio.get_event_loop().time() + seconds if seconds else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _own_address() -> str:
    """The address other machines most likely reach this one by; connecting a UDP socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
