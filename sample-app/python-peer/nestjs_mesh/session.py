"""A session: one connection to one node, and the channels on it. Requests come in here, channels go out from here."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from dataclasses import dataclass, field
from typing import Any, Awaitable, Callable, Dict, List, Optional, Set, TypeVar
from urllib.parse import unquote

from h2.errors import ErrorCodes

from .call_stream import CallingStream, ServedStream
from .channel import Channel, PeerInfo
from .codec import CODEC_HEADER, agreed_codec
from .connection import CONNECT_TIMEOUT, Connection, dial
from .errors import MeshError, unavailable
from .handlers import ChannelHandler, Handlers
from .headers import DEFAULT_CHANNEL, encode_component, metadata_of
from .packet_channel import PacketChannel
from .packets import route_of
from .registry import NodeRecord
from .shared import Shared
from .stream import HeaderList, Reader, Stream
from .unary import UnaryRequests

log = logging.getLogger("nestjs_mesh")
R = TypeVar("R", bound=Reader)

_CODE_OF_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
_CODE_OF_STATUS.update(dict.fromkeys((404, 405, 501), "UNIMPLEMENTED"))
_CODE_OF_STATUS.update({429: "RESOURCE_EXHAUSTED", **dict.fromkeys((500, 502, 503, 504), "UNAVAILABLE")})


@dataclass
class Core:
    """What all sessions of a node share."""

    service: str
    node_id: str
    handlers: Handlers
    max_frame_bytes: int
    #: The codec that is offered on the channels that this node opens.
    codec: str = "json"
    #: Answers what comes without a channel.
    plain: Optional[UnaryRequests] = None
    #: Called when a node has opened its packet channel to this one, and when a session is over.
    on_packets: Callable[[Session], None] = lambda session: None
    on_closed: Callable[[Session], None] = lambda session: None
    #: True when no new channels are accepted, and when no new calls are made.
    draining: bool = False
    closed: bool = False
    #: The handlers of raw channels that are at work.
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
        self._opening: Shared[PacketChannel] = Shared()
        on_request = None if record is not None else self._on_request
        self.connection = Connection(core.max_frame_bytes, on_request, self._on_going, lambda: core.on_closed(self))

    @property
    def usable_packets(self) -> Optional[PacketChannel]:
        """A packet channel on which this side may send requests."""
        return next((packets for packets in self.packet_channels if packets.usable), None)

    @property
    def busy(self) -> bool:
        """True while calls of either side are open."""
        readers = (stream.reader for stream in self.connection.streams.values())
        return any(
            isinstance(reader, (ServedStream, CallingStream)) or (isinstance(reader, PacketChannel) and reader.busy)
            for reader in readers
        )

    @property
    def channels(self) -> List[Channel]:
        """The raw channels that are open."""
        return [s.reader for s in self.connection.streams.values() if isinstance(s.reader, Channel)]

    @staticmethod
    async def dial(core: Core, record: NodeRecord, tls: Optional[ssl.SSLContext]) -> Session:
        """Connects to a node; MeshError (`not-sent`) when that fails."""
        session = Session(core, record)
        await dial(session.connection, record.host, record.port, tls)
        if session.connection.error is not None:  # lost again before anybody could note it
            raise unavailable(session.connection.error.message, "not-sent")
        return session

    # --- channels that this side opens ---

    async def packets(self, deadline: Optional[float]) -> PacketChannel:
        """A packet channel that takes new calls; asyncio.TimeoutError at the deadline."""
        packets = self.usable_packets
        if packets is not None:
            return packets

        async def open_packets() -> PacketChannel:
            return await self._open([], self._packet_channel)

        return await self._opening.get("packets", open_packets, deadline)

    async def open_channel(self, name: str, metadata: Dict[str, str], session_id: Optional[str]) -> Channel:
        """Opens a raw channel."""
        headers = [("x-mesh-channel", encode_component(name)), *metadata.items()]
        if session_id is not None:
            headers.append(("x-session-id", session_id))
        return await self._open(
            headers, lambda stream, peer: Channel(stream, peer, name, metadata_of(stream.headers), session_id)
        )

    async def open_call(
        self, pattern: Any, data: Any, deadline: Optional[float], metadata: Dict[str, str]
    ) -> CallingStream:
        """Opens a call stream for a call whose input is one value or an async iterable."""
        headers = [("x-mesh-pattern", encode_component(route_of(pattern)))]
        if not hasattr(data, "__aiter__"):
            headers.append(("x-mesh-input", "value"))
        if metadata:
            headers.append(("x-mesh-metadata", encode_component(json.dumps(metadata))))
        if deadline is not None:
            headers.append(("x-mesh-timeout", str(max(1, int((deadline - self.connection.loop.time()) * 1000)))))
        call = await self._open(headers, lambda stream, peer: CallingStream(stream), deadline)
        assert self.record is not None
        call.expire_at(deadline, f"{self.record.service} did not answer {route_of(pattern)} within the call's timeout")
        try:
            call.start(data)
        except MeshError:
            call.close()
            raise
        return call

    async def _open(
        self, headers: HeaderList, reader: Callable[[Stream, PeerInfo], R], deadline: Optional[float] = None
    ) -> R:
        """Opens a stream; `reader` makes who reads it, once the node has accepted it."""
        assert self.record is not None, "only the side that dialled opens streams"
        record, address = self.record, self.connection.address
        scheme = "https" if self.connection.secure else "http"
        head = [(":method", "POST"), (":scheme", scheme), (":authority", f"{record.host}:{record.port}")]
        head += [(":path", "/channel"), ("x-service-name", self.core.service), *self.core.identity(), *headers]
        if self.core.codec != "json":
            head.append((CODEC_HEADER, self.core.codec))
        stream = self.connection.open_stream(head)
        opened: List[R] = []

        def on_answer() -> None:
            if stream.headers.get(":status") == "200" and stream.headers.get("x-mesh-node-id") in (None, record.id):
                self.peer = PeerInfo(record.service, record.id, address, "x-mesh-version" in stream.headers)
                if self.core.codec != "json":
                    stream.codec, _ = agreed_codec(stream.headers)
                stream.reader = reader(stream, self.peer)
                opened.append(stream.reader)

        stream.on_answer = on_answer
        left = CONNECT_TIMEOUT if deadline is None else max(0.0, deadline - self.connection.loop.time())
        left = min(left, CONNECT_TIMEOUT)
        try:
            # Not wait_for: before Python 3.12 it can swallow a cancellation.
            await asyncio.wait({stream.answered}, timeout=left)
            if not stream.answered.done():
                raise unavailable(f"{address} did not answer /channel within {left:g} s", "not-sent")
            stream.answered.result()
            if opened:
                return opened[0]
            raise _refusal(record, address, stream.headers)
        except asyncio.CancelledError:
            opened.clear()  # nobody is left to use it
            raise
        except MeshError as error:
            delivery = "not-sent" if error.delivery == "not-sent" else "refused"
            raise MeshError(error.code, error.message, delivery=delivery) from error
        finally:
            if not opened:
                stream.reset(ErrorCodes.CANCEL)

    # --- channels that the other side opens ---

    def _on_request(self, stream: Stream) -> None:
        headers, core = stream.headers, self.core
        method, path = headers.get(":method"), headers.get(":path", "").split("?")[0]
        service, name = headers.get("x-service-name", ""), headers.get("x-mesh-channel")
        if name is not None:
            name = unquote(name) or DEFAULT_CHANNEL
        if core.plain is not None and core.plain.serve(stream):
            return
        if path != "/channel":
            _refuse(stream, 404, "NOT_FOUND", f"no such path: {path!r}; channels are opened by POST /channel")
        elif method != "POST":
            _refuse(stream, 405, "UNIMPLEMENTED", f"method {method} on /channel; use POST", [("allow", "POST")])
        elif not service or not service.isprintable():
            _refuse(stream, 400, "INVALID_ARGUMENT", "the header x-service-name must name the calling service")
        elif core.draining:
            _refuse(stream, 503, "UNAVAILABLE", f"{core.service} is shutting down")
        elif "x-mesh-open" in headers:
            _refuse(stream, 501, "UNIMPLEMENTED", "this peer asks for no streams to be opened")
        elif name is not None and core.handlers.find_channel_handler(name) is None:
            _refuse(stream, 404, "NOT_FOUND", f"{core.service} has no handler for the channel {name!r}")
        else:
            extended = "x-mesh-version" in headers
            self.peer = PeerInfo(service, headers.get("x-mesh-node-id"), self.connection.address, extended)
            stream.codec, agreed = agreed_codec(headers)
            stream.respond(200, [*core.identity(), *agreed])
            self._accept(stream, self.peer, name)

    def _accept(self, stream: Stream, peer: PeerInfo, name: Optional[str]) -> None:
        if "x-mesh-pattern" in stream.headers:
            stream.reader = ServedStream(stream, peer, self.core.handlers)
            return
        handler = self.core.handlers.find_channel_handler(name) if name is not None else None
        if name is not None and handler is not None:
            stream.reader = channel = self._raw_channel(stream, peer, name)
            self._run(handler, channel, lambda: channel.close(timeout=None))
            return
        stream.reader = packets = self._packet_channel(stream, peer)
        if peer.extended:
            self.core.on_packets(self)
        else:
            packets.offer_raw()  # either side may speak first, so the handler cannot wait for a message

    def _packet_channel(self, stream: Stream, peer: PeerInfo) -> PacketChannel:
        packets = PacketChannel(stream, peer, self.record is not None, self.core.handlers, self._start_raw)
        self.packet_channels = [p for p in self.packet_channels if not p.stream.closed] + [packets]
        return packets

    def _raw_channel(self, stream: Stream, peer: PeerInfo, name: str) -> Channel:
        return Channel(stream, peer, name, metadata_of(stream.headers), stream.headers.get("x-session-id"))

    def _start_raw(self, packets: PacketChannel) -> Optional[Channel]:
        handler = self.core.handlers.find_channel_handler(DEFAULT_CHANNEL)
        if handler is None:
            return None
        channel = self._raw_channel(packets.stream, packets.peer, DEFAULT_CHANNEL)
        self._run(handler, channel, packets.raw_done)
        return channel

    def _run(self, handler: ChannelHandler, channel: Channel, done: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            try:
                await handler(channel)
            except MeshError as error:
                log.warning("channel %r with %s ended: %s", channel.name, channel.peer.service, error)
            except Exception as error:
                log.error("the handler of channel %r failed", channel.name, exc_info=error)
                channel.abort(MeshError("INTERNAL", "the channel's handler failed"))
            await done()

        task = asyncio.get_event_loop().create_task(run())
        self.core.tasks.add(task)
        task.add_done_callback(self.core.tasks.discard)

    def _on_going(self) -> None:
        for packets in self.packet_channels:
            packets.retire()


def _refusal(record: NodeRecord, address: str, answer: Dict[str, str]) -> MeshError:
    status = answer.get(":status", "")
    if status == "200":
        return unavailable(f"{address} is the node {answer.get('x-mesh-node-id')} now, not {record.id}", "refused")
    code = _CODE_OF_STATUS.get(int(status) if status.isdigit() else 0, "UNKNOWN")
    return MeshError(code, f"{record.service} at {address} answered {status} to /channel", delivery="refused")


def _refuse(stream: Stream, status: int, code: str, message: str, headers: Any = ()) -> None:
    log.warning("refused a request of %s with %d: %s", stream.connection.address, status, message)
    stream.respond(status, [("content-type", "application/json"), *headers])
    stream.write(json.dumps({"error": {"code": code, "message": message}}).encode())
    stream.end()
