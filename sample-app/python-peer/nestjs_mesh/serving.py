"""The streams that the other side wants: which handler gets them, or why none does."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, List, Optional, Tuple
from urllib.parse import unquote

from .call_stream import ServedStream
from .channel import Channel, PeerInfo
from .channel_failure import failure_of
from .codec import agreed_codec
from .errors import ERROR_CODES, MeshError, RpcError, error_of, unavailable
from .handlers import ChannelHandler
from .headers import DEFAULT_CHANNEL, metadata_of
from .http2 import MAX_STREAMS
from .keep_alive import CONNECT_TIMEOUT
from .packet_channel import PacketChannel
from .packets import is_token
from .side_packets import Arrival
from .stream import Stream

if TYPE_CHECKING:
    from .session import Session

log = logging.getLogger("nestjs_mesh")

_STATUS_OF_CODE = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429, "UNAVAILABLE": 503}


class Serving:
    """What one session does with the streams that its peer opens or asks for."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._core = session.core

    # --- streams that the peer opens: it has dialled ---

    def on_request(self, stream: Stream) -> None:
        """A request, of whatever kind."""
        headers = stream.headers
        method, path = headers.get(":method"), headers.get(":path", "").split("?")[0]
        service = headers.get("x-service-name", "")
        if self._core.plain is not None and self._core.plain.serve(stream):
            return
        if path != "/channel":
            _refuse(stream, 404, "NOT_FOUND", f"no such path: {path!r}; channels are opened by POST /channel")
        elif method != "POST":
            _refuse(stream, 405, "UNIMPLEMENTED", f"method {method} on /channel; use POST", [("allow", "POST")])
        elif not service or not service.isprintable():
            _refuse(stream, 400, "INVALID_ARGUMENT", "the header x-service-name must name the calling service")
        else:
            address, extended = self._session.connection.address, "x-mesh-version" in headers
            listens = not extended or headers.get("x-mesh-listen") != "false"
            peer = PeerInfo(service, headers.get("x-mesh-node-id"), address, extended, listens)
            try:
                self._accept(stream, peer)
            except MeshError as error:
                _refuse(stream, _STATUS_OF_CODE.get(error.code, 500), error.code, error.message)

    def _accept(self, stream: Stream, peer: PeerInfo) -> None:
        headers = stream.headers
        if "x-mesh-open" in headers:
            self._on_asked(stream, headers["x-mesh-open"])
        elif "x-mesh-packet" in headers:
            self._on_side_packet(stream, headers["x-mesh-packet"])
        else:
            start = self._starter(headers)
            self._session.peer = peer
            stream.codec, agreed = agreed_codec(headers)
            stream.respond(200, [*self._core.identity(), *agreed])
            start(stream, peer)

    def _on_asked(self, request: Stream, token: str) -> None:
        """The peer opens what it was asked for."""
        asked = self._session.opening.asked(token)
        if asked is None:
            raise MeshError("NOT_FOUND", "no stream was asked for by this x-mesh-open, or not any more")
        request.respond(200, self._core.identity())
        if "mesh-status" in request.headers:
            refusal = error_of(request.headers)
            if not isinstance(refusal, MeshError):
                code = request.headers["mesh-status"]
                message = f"the peer refused the stream with the status {code[:100]}"
                refusal = MeshError(code if code in ERROR_CODES else "UNKNOWN", message, delivery="refused")
            request.end()
            asked.close(refusal)
        else:
            asked.opened_by(request)

    def _on_side_packet(self, stream: Stream, token: str) -> None:
        """A large packet comes on this stream."""
        packets = self._session.live_packets
        if packets is None:
            raise MeshError("INVALID_ARGUMENT", "x-mesh-packet goes with a packet channel, and none is open here")
        stream.codec = packets.stream.codec
        if token == "request":
            Arrival(packets.on_side_packet).carry(stream)
        else:
            self._session.opening.arrivals.carry(token, stream)
        stream.respond(200, self._core.identity())
        stream.end()

    # --- streams that the peer asks for: this side has dialled ---

    def on_open(self, packet: Dict[str, Any], packets: PacketChannel) -> Optional[str]:
        """An `open` packet; gives the fault when it is none that can be followed."""
        token, headers = packet["open"], packet.get("headers")
        if self._session.record is None:
            return "asked for a stream, but it is the side that can open one"
        if (
            not is_token(token)
            or not isinstance(headers, dict)
            or not all(isinstance(v, str) for v in headers.values())
        ):
            return "asked for a stream with a token or headers that are none"
        if len(self._session.connection.streams) > MAX_STREAMS:
            return f"asked for a stream where over {MAX_STREAMS} are open"
        opens = [("x-mesh-open", token)]
        try:
            if headers.get("x-mesh-packet") == "request":
                self._session.opening.fetch(token, packets, packets.on_side_packet)
                return None
            try:
                start = self._starter(headers, asked=True)
            except MeshError as error:
                wire = json.dumps({**error.to_wire(), "delivery": "refused"})
                refused = self._session.opening.request([*opens, ("mesh-status", error.code), ("mesh-error", wire)])
                refused.on_answer = lambda: refused.end(abandon=True)
                refused.answer_within(CONNECT_TIMEOUT)
                refused.end()
                return None
            codec, agreed = agreed_codec(headers)
            stream = self._session.opening.request([*opens, *agreed])
        except MeshError as error:
            return f"asked for a stream that cannot be opened: {error}"

        def on_answer() -> None:
            refusal = self._session.opening.refusal(stream)
            if refusal is None:
                stream.headers, stream.codec = headers, codec
                start(stream, packets.peer)
            else:
                log.debug("a stream that was asked for is not wanted any more: %s", refusal)
                stream.reset(8)

        stream.on_answer = on_answer
        stream.answer_within(CONNECT_TIMEOUT)
        return None

    # --- handlers ---

    def _starter(self, headers: Dict[str, str], asked: bool = False) -> Callable[[Stream, PeerInfo], None]:
        """What serves a stream with these headers, once it is accepted; MeshError when nothing does."""
        if self._core.draining:
            raise unavailable(f"{self._core.service} is shutting down", "refused")
        if "x-mesh-pattern" in headers:
            return self._start_call
        if "x-mesh-channel" in headers:
            name = unquote(headers["x-mesh-channel"]) or DEFAULT_CHANNEL
            handler = self._core.handlers.find_channel_handler(name)
            if handler is None:
                message = f"{self._core.service} has no handler for the channel {name[:200]!r}"
                raise MeshError("NOT_FOUND", message, delivery="refused")
            found = handler
            return lambda stream, peer: self._start_channel(found, name, stream, peer)
        if asked:
            message = "a stream that is asked for needs x-mesh-channel, x-mesh-pattern or x-mesh-packet"
            raise MeshError("INVALID_ARGUMENT", message, delivery="refused")
        return self._start_packets

    def _start_call(self, stream: Stream, peer: PeerInfo) -> None:
        stream.reader = ServedStream(stream, peer, self._session)

    def _start_channel(self, handler: ChannelHandler, name: str, stream: Stream, peer: PeerInfo) -> None:
        stream.reader = channel = self._raw_channel(stream, peer, name)
        self._run(handler, channel, channel.fail, lambda: channel.close(timeout=None))

    def _start_packets(self, stream: Stream, peer: PeerInfo) -> None:
        stream.reader = packets = self._session.packet_channel(stream, peer)
        if peer.extended:
            self._core.on_packets(self._session)
        else:
            packets.offer_raw()  # either side may speak first, so the handler cannot wait for a message

    def start_raw(self, packets: PacketChannel) -> Optional[Channel]:
        """Runs the default raw handler on a packet channel; None when there is no such handler."""
        handler = self._core.handlers.find_channel_handler(DEFAULT_CHANNEL)
        if handler is None:
            return None
        channel = self._raw_channel(packets.stream, packets.peer, DEFAULT_CHANNEL)
        self._run(handler, channel, packets.raw_failed, packets.raw_done)
        return channel

    def _raw_channel(self, stream: Stream, peer: PeerInfo, name: str) -> Channel:
        session_id = stream.headers.get("x-session-id")
        return Channel(stream, peer, name, metadata_of(stream.headers), session_id, self._session.target)

    def _run(
        self,
        handler: ChannelHandler,
        channel: Channel,
        fail: Callable[[MeshError, List[Tuple[str, str]]], None],
        done: Callable[[], Awaitable[None]],
    ) -> None:
        async def run() -> None:
            try:
                await handler(channel)
            except asyncio.CancelledError:
                if self._core.closed:
                    raise
                # By itself: the caller must not wait for ever.
                end_by(RpcError(MeshError("CANCELLED", "the handler was cancelled")))
            except Exception as error:
                end_by(error)
            await done()

        def end_by(error: Exception) -> None:
            told = failure_of(channel, error)
            if told is not None:
                fail(*told)

        task = asyncio.get_event_loop().create_task(run())
        self._core.tasks.add(task)
        task.add_done_callback(self._core.tasks.discard)


def _refuse(stream: Stream, status: int, code: str, message: str, headers: Any = ()) -> None:
    log.warning("refused a request of %s with %d: %s", stream.connection.address, status, message)
    stream.respond(status, [("content-type", "application/json"), *headers])
    stream.write(json.dumps({"error": {"code": code, "message": message}}).encode())
    stream.end()
