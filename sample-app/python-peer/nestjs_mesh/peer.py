"""The peer: server and client at once. It announces itself, answers, finds others and calls them."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import math
import socket
import time
import uuid
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from .client import Client
from .codec import check_codec
from .connection import Connection
from .core import Core
from .errors import MeshError
from .frames import DEFAULT_MAX_FRAME_BYTES
from .handlers import Handlers
from .idle_sessions import IDLE_SESSION
from .lease_thread import LeaseThread
from .packet_channel import PacketChannel
from .registry import RESERVED, Announcement, NodeRecord, check_service, open_registry
from .router import Router
from .session import Session
from .subset import SUBSET_SIZE, check_subset_size
from .tls import Tls
from .unary import UnaryRequests, check_http

log = logging.getLogger("nestjs_mesh")

#: Seconds without an open call after which a draining node is taken to be done with a peer that does not say so.
QUIET = 0.1
#: The same for a node without a port: those that call it do say so.
PORTLESS_QUIET = 1.0


class Peer(Handlers, Client):
    """One node of the mesh; the decorators of Handlers say what it answers, the methods of Client call others.

    service -- the name under which others find this node
    registry -- `redis://…`, `rediss://…` or `file:DIR`
    listen -- False opens no port and announces nothing: only the nodes that this one dials can call it, by its name
    connect_to -- services to whose nodes channels are kept, all of them, so that they can call this one
    host, port -- where to listen: by default on 127.0.0.1, and on a free port (0)
    advertise -- `HOST` or `HOST:PORT` to announce instead of what is listened on
    tls -- TLS for listening and dialling; None is cleartext h2c
    metadata -- free-form, announced in the registry
    http -- what is answered over plain HTTP/2: `rpc`, calls and events (by default where `host` is loopback), and
        `health`, /health and /ready (by default): `{"rpc": True, "health": False}`
    codec -- `msgpack`, where that package is there, for the channels that this node opens to nodes which take it
    max_frame_bytes -- the largest message sent or received
    large_message_bytes -- larger ones travel on a stream of their own, so that small ones never wait; 0 is never
    subset_size -- how many nodes of a service calls are spread over, each client having others; 0 is all
    idle_session -- seconds without use after which a connection with a node outside of the subset ends; 0 is never
    drain_timeout -- seconds that `close()` gives open calls to finish
    lease_thread -- whether a thread keeps the record alive, so that a blocked event loop is not taken for dead
    """

    def __init__(
        self,
        service: str,
        registry: str = "redis://localhost:6379",
        *,
        listen: bool = True,
        connect_to: Sequence[str] = (),
        host: Optional[str] = None,
        port: Optional[int] = None,
        advertise: Optional[str] = None,
        tls: Optional[Tls] = None,
        metadata: Optional[Dict[str, Any]] = None,
        http: Optional[Mapping[str, bool]] = None,
        codec: str = "json",
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
        large_message_bytes: int = 262_144,
        subset_size: Union[int, float] = SUBSET_SIZE,
        idle_session: float = IDLE_SESSION,
        drain_timeout: float = 5.0,
        lease_thread: bool = False,
    ) -> None:
        Handlers.__init__(self)
        useless = {"host": host, "port": port, "advertise": advertise}
        if not listen and any(value is not None for value in useless.values()):
            named = ", ".join(f"{name}={value!r}" for name, value in useless.items() if value is not None)
            raise ValueError(f"listen=False opens no port, so {named} can have no effect; leave it out, or listen")
        if isinstance(connect_to, str):
            raise ValueError(f"connect_to must be a list of services; got {connect_to!r}")
        host, port = "127.0.0.1" if host is None else host, port or 0
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be in 0 to 65535; got {port}")
        if max_frame_bytes < 1024:
            raise ValueError(f"max_frame_bytes must be at least 1024; got {max_frame_bytes}")
        if RESERVED in (metadata or {}):
            raise ValueError(f"metadata must not have {RESERVED!r}: it is reserved for what the mesh announces")
        if large_message_bytes < 0:
            raise ValueError(f"large_message_bytes must be 0 (never) or more; got {large_message_bytes}")
        if not 0 <= idle_session < math.inf:
            raise ValueError(f"idle_session must be seconds, or 0 for never; got {idle_session!r}")
        self.service = check_service(service)
        self.node_id = str(uuid.uuid4())
        #: The port that is listened on, once started.
        self.port = port
        self._listens = listen
        self._connect_to = [check_service(service) for service in connect_to]
        self._host = host
        self._advertise = advertise
        self._tls = tls
        self._metadata = metadata or {}
        self._drain_timeout = drain_timeout
        self._registry = open_registry(registry)
        self._lease_url = registry if lease_thread else None
        self._core = Core(self.service, self.node_id, self, max_frame_bytes, large_message_bytes, check_codec(codec))
        size = check_subset_size(subset_size)
        router = Router(self._core, self._registry, tls.client if tls else None, size, idle_session)
        Client.__init__(self, router)
        plain = check_http(http, _is_loopback(host))
        self._core.plain = UnaryRequests(self, plain, self._not_ready, lambda: self._core.draining)
        self._announced = False
        self._server: Optional[asyncio.AbstractServer] = None
        self._announcement: Optional[Announcement] = None

    # --- life ---

    async def start(self) -> None:
        """Listens and announces, or serves on the channels that it opens.

        Raises MeshError when the registry is away or the port is taken.
        """
        await self._registry.connect()
        try:
            if self._listens:
                await self._listen()
                await self._announce()
            else:
                self._core.portless = True
                if not self._connect_to:
                    log.warning(
                        "this node opens no port, and keeps no channels: give connect_to, so that others can call it"
                    )
            self._announced = True
            for service in self._connect_to:
                self._router.keep(service)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Withdraws, asks callers for no more, finishes what is open within `drain_timeout`, then disconnects."""
        if self._core.draining:
            return
        self._core.draining = True
        await self._router.keep_nothing()
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
        for task in [*closing, *self._core.tasks, *self.events.tasks]:
            task.cancel()
        await self._router.close()
        await self._registry.close()

    async def _drain(self, until: float) -> None:
        channels = self._packet_channels()
        for packets in channels:
            packets.drain()
        # Requests that crossed our drain packet are still on their way: a peer that has opened a channel ends it behind
        # its last one, and from all others they have come when nothing was open for a moment.
        quiet, quiet_since = QUIET if self._listens else PORTLESS_QUIET, time.monotonic()
        while time.monotonic() < until:
            plain = self._core.plain is not None and self._core.plain.calls
            busy = bool(self.events.tasks or plain) or any(session.busy for session in self._router.sessions)
            if busy:
                quiet_since = time.monotonic()
            ended = all(packets.stream.closed or packets.stream.remote_ended for packets in channels)
            if (ended and not busy) or time.monotonic() - quiet_since > quiet:
                return
            await asyncio.sleep(0.01)

    def _not_ready(self) -> List[str]:
        if self._core.draining:
            return ["shutting down"]
        return [] if self._announced else ["not announced in the registry yet"]

    def _packet_channels(self) -> List[PacketChannel]:
        return [packets for session in self._router.sessions for packets in session.packet_channels]

    async def __aenter__(self) -> Peer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _announce(self) -> None:
        said = self.announced()
        metadata = {**self._metadata, RESERVED: said} if said else self._metadata
        record = NodeRecord(self.node_id, self.service, *self._announced_address(), metadata)
        url = self._lease_url
        self._announcement = Announcement(self._registry, record) if url is None else LeaseThread(url, record)
        await self._announcement.start()

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
