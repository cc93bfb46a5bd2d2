"""A session: one connection to one node, and the channels on it. Requests come in here, channels go out from here."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Set, TypeVar

import h2.errors

from .channel import Channel, PeerInfo, RawSink
from .connection import CONNECT_TIMEOUT, Connection, dial
from .errors import MeshError, unavailable
from .handlers import DEFAULT_CHANNEL, ChannelHandler, Handlers
from .packet_channel import PacketChannel
from .registry import NodeRecord
from .stream import HeaderList, Stream

log = logging.getLogger("nestjs_mesh")
T = TypeVar("T")

#: Headers that are the protocol's own or HTTP's; every further one is metadata.
OWN_HEADERS = {"x-service-name", "x-session-id", "x-mesh-node-id", "x-mesh-version", "x-mesh-channel"}
OWN_HEADERS |= {"host", "content-type", "content-length", "te", "accept-encoding"}
_RESERVED = OWN_HEADERS | {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
_CODE_OF_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "UNIMPLEMENTED",
    405: "UNIMPLEMENTED",
    429: "RESOURCE_EXHAUSTED",
    500: "UNAVAILABLE",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "UNAVAILABLE",
}


@dataclass
class Core:
    """What all sessions of a node share."""

    service: str
    node_id: str
    handlers: Handlers
    max_frame_bytes: int
    #: Called when a session has a packet channel for requests, and when it is over.
    on_packets: Callable[[Session], None] = lambda session: None
    on_closed: Callable[[Session], None] = lambda session: None
    closing: bool = False
    #: Raw channels that are open, and the tasks of their handlers.
    channels: Set[Channel] = field(default_factory=set)
    tasks: Set[asyncio.Task[None]] = field(default_factory=set)

    def identity(self) -> HeaderList:
        """The headers both sides say."""
        return [("x-mesh-node-id", self.node_id), ("x-mesh-version", "1")]


class Session:
    """`record` is the node that was dialled; None for a connection that was accepted."""

    def __init__(self, core: Core, record: Optional[NodeRecord] = None) -> None:
        self.core = core
        self.record = record
        self.peer: Optional[PeerInfo] = None
        self.packet_channels: List[PacketChannel] = []
        on_request = None if record is not None else self._on_request
        self.connection = Connection(on_request, self._on_going, self._on_closed)

    @property
    def usable_packets(self) -> Optional[PacketChannel]:
        """A packet channel on which this side may send requests."""
        for packets in self.packet_channels:
            if packets.usable:
                return packets
        return None

    @staticmethod
    async def dial(core: Core, record: NodeRecord, tls: Optional[ssl.SSLContext]) -> Session:
        """Connects to a node; MeshError (`not-sent`) when that fails."""
        session = Session(core, record)
        await dial(session.connection, record.host, record.port, tls)
        if session.connection.error is not None:  # lost again before anybody could note it
            raise unavailable(session.connection.error.message, "not-sent")
        return session

    # --- channels that this side opens ---

    async def open_packets(self) -> PacketChannel:
        """Opens the packet channel."""

        def accept(stream: Stream, peer: PeerInfo) -> PacketChannel:
            packets = self._add_packets(stream, peer)
            self.core.on_packets(self)
            return packets

        return await self._request([], accept)

    async def open_channel(self, name: str, metadata: Dict[str, str], session_id: Optional[str]) -> Channel:
        """Opens a raw channel."""
        headers = [("x-mesh-channel", name), *metadata.items()]
        if session_id is not None:
            headers.append(("x-session-id", session_id))

        def accept(stream: Stream, peer: PeerInfo) -> Channel:
            return self._add_channel(stream, peer, name, _metadata(stream.headers), session_id)

        return await self._request(headers, accept)

    async def _request(self, headers: HeaderList, accept: Callable[[Stream, PeerInfo], T]) -> T:
        assert self.record is not None
        record = self.record
        scheme = "https" if self.connection.secure else "http"
        head = [(":method", "POST"), (":scheme", scheme), (":authority", f"{record.host}:{record.port}")]
        head += [(":path", "/channel"), ("x-service-name", self.core.service), *self.core.identity(), *headers]
        accepted: List[T] = []

        def on_answer(stream: Stream) -> None:
            node_id = stream.headers.get("x-mesh-node-id")
            if stream.headers.get(":status") == "200" and node_id in (None, record.id):
                extended = "x-mesh-version" in stream.headers
                peer = PeerInfo(record.service, record.id, self.connection.address, extended)
                self.peer = peer
                accepted.append(accept(stream, peer))

        stream = self.connection.open_stream(head, on_answer)
        try:
            answer = await asyncio.wait_for(stream.answered, CONNECT_TIMEOUT)
        except asyncio.TimeoutError:
            stream.reset(h2.errors.ErrorCodes.CANCEL)
            message = f"{self.connection.address} did not answer /channel within {CONNECT_TIMEOUT:g} s"
            raise unavailable(message, "not-sent") from None
        except MeshError as error:
            raise MeshError(error.code, error.message, delivery="refused") from error
        except asyncio.CancelledError:
            stream.reset(h2.errors.ErrorCodes.CANCEL)
            raise
        if accepted:
            return accepted[0]
        stream.reset(h2.errors.ErrorCodes.CANCEL)
        raise self._refusal(answer, record)

    def _refusal(self, answer: Dict[str, str], record: NodeRecord) -> MeshError:
        status = answer.get(":status", "")
        if status == "200":
            found = answer.get("x-mesh-node-id")
            return unavailable(f"{self.connection.address} is the node {found} now, not {record.id}", "refused")
        code = _CODE_OF_STATUS.get(int(status) if status.isdigit() else 0, "UNKNOWN")
        message = f"{record.service} at {self.connection.address} answered {status} to /channel"
        return MeshError(code, message, delivery="refused")

    # --- channels that the other side opens ---

    def _on_request(self, stream: Stream) -> None:
        headers = stream.headers
        method, path = headers.get(":method"), headers.get(":path", "").split("?")[0]
        service = headers.get("x-service-name", "")
        name = headers.get("x-mesh-channel")
        handler = self.core.handlers.channel(name) if name is not None else None
        if path != "/channel":
            _refuse(stream, 404, "NOT_FOUND", f"no such path: {path!r}; channels are opened by POST /channel")
        elif method != "POST":
            _refuse(stream, 405, "UNIMPLEMENTED", f"method {method} on /channel; use POST", [("allow", "POST")])
        elif not service or not service.isprintable():
            _refuse(stream, 400, "INVALID_ARGUMENT", "the header x-service-name must name the calling service")
        elif self.core.closing:
            _refuse(stream, 503, "UNAVAILABLE", f"{self.core.service} is shutting down")
        elif "x-mesh-pattern" in headers or "x-mesh-open" in headers:
            _refuse(stream, 501, "UNIMPLEMENTED", "this peer has no call streams; use the packet channel")
        elif name is not None and handler is None:
            _refuse(stream, 404, "NOT_FOUND", f"{self.core.service} has no handler for the channel {name!r}")
        else:
            node_id = headers.get("x-mesh-node-id")
            peer = PeerInfo(service, node_id, self.connection.address, "x-mesh-version" in headers)
            self.peer = peer
            stream.respond(200, self.core.identity())
            if name is None or handler is None:
                self._accept_packets(stream, peer)
            else:
                channel = self._add_channel(stream, peer, name, _metadata(headers), headers.get("x-session-id"))
                self._run(handler, channel, None)

    def _accept_packets(self, stream: Stream, peer: PeerInfo) -> None:
        packets = self._add_packets(stream, peer)
        if peer.extended:
            self.core.on_packets(self)
        else:
            packets.offer_raw()  # either side may speak first, so the handler cannot wait for a message

    def _add_packets(self, stream: Stream, peer: PeerInfo) -> PacketChannel:
        packets = PacketChannel(stream, peer, self.core.handlers, self.core.max_frame_bytes, self._start_raw)
        stream.sink = packets
        self.packet_channels = [p for p in self.packet_channels if not p.stream.closed] + [packets]
        return packets

    def _start_raw(self, packets: PacketChannel) -> Optional[Channel]:
        handler = self.core.handlers.channel(DEFAULT_CHANNEL)
        if handler is None:
            return None
        headers = packets.stream.headers
        session_id = headers.get("x-session-id")
        limit = self.core.max_frame_bytes
        channel = Channel(packets.stream, packets.peer, DEFAULT_CHANNEL, _metadata(headers), session_id, limit)
        self._run(handler, channel, packets)
        return channel

    def _add_channel(
        self, stream: Stream, peer: PeerInfo, name: str, metadata: Dict[str, str], session_id: Optional[str]
    ) -> Channel:
        channel = Channel(stream, peer, name, metadata, session_id, self.core.max_frame_bytes)
        stream.sink = RawSink(stream, channel, self.core.max_frame_bytes)
        self.core.channels.add(channel)
        channel.on_over = self.core.channels.discard
        return channel

    def _run(self, handler: ChannelHandler, channel: Channel, packets: Optional[PacketChannel]) -> None:
        async def run() -> None:
            try:
                await handler(channel)
            except MeshError as error:
                log.warning("channel %r with %s ended: %s", channel.name, channel.peer.service, error)
            except Exception as error:
                log.error("the handler of channel %r failed", channel.name, exc_info=error)
                channel.abort(MeshError("INTERNAL", "the channel's handler failed"))
            if packets is None:
                await channel.close(timeout=None)
            else:
                await packets.raw_done()

        task = asyncio.get_event_loop().create_task(run())
        self.core.tasks.add(task)
        task.add_done_callback(self.core.tasks.discard)

    # --- the connection's end ---

    def _on_going(self) -> None:
        for packets in self.packet_channels:
            packets.stop_requests()

    def _on_closed(self) -> None:
        self.core.on_closed(self)


def check_headers(metadata: Optional[Dict[str, str]]) -> Dict[str, str]:
    """The metadata of a channel as headers: names in lower case; ValueError for what HTTP/2 cannot carry."""
    result = {}
    for key, value in (metadata or {}).items():
        name = key.lower()
        if not re.fullmatch(r"[a-z0-9!#$%&'*+.^_`|~-]+", name) or name in _RESERVED or name.startswith("x-mesh-"):
            raise ValueError(f"channel metadata {key!r} cannot be used as a header name")
        result[name] = check_header_value(f"channel metadata {key!r}", value)
    return result


def check_header_value(what: str, value: Any) -> str:
    """Text that can be the value of a header; ValueError otherwise."""
    if not isinstance(value, str) or not re.fullmatch(r"[\x20-\x7e]*", value) or value != value.strip():
        raise ValueError(f"{what} must be printable ASCII without spaces around; got {value!r}")
    return value


def _metadata(headers: Dict[str, str]) -> Dict[str, str]:
    return {key: value for key, value in headers.items() if key not in OWN_HEADERS and not key.startswith(":")}


def _refuse(stream: Stream, status: int, code: str, message: str, headers: Any = ()) -> None:
    log.warning("refused a request of %s with %d: %s", stream.connection.address, status, message)
    stream.respond(status, [("content-type", "application/json"), *headers])
    stream.write(json.dumps({"error": {"code": code, "message": message}}).encode())
    stream.end()
