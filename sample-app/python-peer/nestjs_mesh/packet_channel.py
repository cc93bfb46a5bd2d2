"""The packet channel: one long-lived stream that carries all ordinary calls and events between two nodes, both ways."""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, Optional, Set

import h2.errors

from .calls import OpenCall
from .channel import Channel, PeerInfo
from .errors import MeshError, error_from_wire, unavailable
from .executor import Executor
from .frames import HEADER_BYTES, FrameDecoder, FramingError, Oversized, frame_header
from .handlers import Handlers
from .packets import CallId, decode_json, encode_json, kind_of, peek_id, route_of, too_large
from .stream import Sink, Stream

log = logging.getLogger("nestjs_mesh")


class PacketChannel(Sink):
    """Reads the frames of a stream and hands each to whom it concerns: our open calls, the executor, the raw channel.

    `start_raw` gives the Channel of the default raw handler, or None when there is no such handler.
    """

    def __init__(
        self,
        stream: Stream,
        peer: PeerInfo,
        handlers: Handlers,
        max_frame_bytes: int,
        start_raw: Callable[[PacketChannel], Optional[Channel]],
    ) -> None:
        self.stream = stream
        self.peer = peer
        #: True when the peer asked for no new requests.
        self.draining = False
        #: False while the stream has carried nothing but raw values.
        self.packets_seen = False
        self.executor = Executor(handlers, peer, self._send, stream.drain, self._end_when_idle)
        self._max = max_frame_bytes
        self._decoder = FrameDecoder(max_frame_bytes)
        self._start_raw = start_raw
        self._raw: Optional[Channel] = None
        self._raw_running = False
        self._last_id = 0
        self._calls: Dict[CallId, OpenCall] = {}
        self._warned: Set[str] = set()

    @property
    def usable(self) -> bool:
        """True when new requests may be sent."""
        stream = self.stream
        over = stream.closed or stream.ending or stream.remote_ended
        return not (over or self.draining or stream.connection.going)

    @property
    def busy(self) -> bool:
        """True while calls of either side are open."""
        return bool(self._calls) or self.executor.busy

    # --- our calls ---

    def open(
        self, pattern: Any, data: Any, deadline: Optional[float], metadata: Optional[Dict[str, str]] = None
    ) -> OpenCall:
        """Sends a request. `deadline` is an instant of the event loop's clock; the call fails by itself then."""
        self._last_id += 1
        packet: Dict[str, Any] = {"id": self._last_id, "pattern": pattern, "data": data}
        if metadata:
            packet["metadata"] = metadata
        loop = self.stream.connection.loop
        if deadline is not None and self.peer.extended:
            packet["timeout"] = max(1, int((deadline - loop.time()) * 1000))
        self._send(packet, "the data")
        call = OpenCall(self._last_id, self._close)
        self._calls[call.id] = call
        if deadline is not None:
            message = f"{self.peer.service} did not answer {route_of(pattern)} within the call's timeout"
            call.timer = loop.call_at(deadline, call.finish, MeshError("DEADLINE_EXCEEDED", message))
        return call

    async def emit(self, pattern: Any, data: Any, metadata: Optional[Dict[str, str]] = None) -> None:
        """Sends an event; returns when the transport has taken it."""
        packet: Dict[str, Any] = {"pattern": pattern, "data": data}
        if metadata:
            packet["metadata"] = metadata
        self._send(packet, "the event")
        await self.stream.drain()

    def drain(self) -> None:
        """Asks the peer for no new requests."""
        if self.peer.extended and self.usable:
            self._send({"drain": True}, "drain")

    def stop_requests(self) -> None:
        """The peer is leaving: no new requests, and this half ends when the open ones are answered."""
        self.draining = True
        self._end_when_idle()

    def _close(self, call: OpenCall) -> None:
        open_still = self._calls.pop(call.id, None) is not None
        if open_still and self.peer.extended and not self.stream.closed and not self.stream.ending:
            self._send({"id": call.id, "cancel": True}, "cancel")
        self._end_when_idle()

    def _send(self, packet: Dict[str, Any], what: str) -> None:
        payload = encode_json(packet, self._max, what)
        self.stream.write(frame_header(len(payload)), payload)

    # --- Sink ---

    def on_data(self, data: bytes) -> None:
        try:
            for payload in self._decoder.feed(data):
                if isinstance(payload, Oversized):
                    self._skipped(payload.head, too_large("the message", payload.length, self._max, "refused"))
                    continue
                try:
                    value = decode_json(payload)
                except ValueError as error:
                    message = f"a message is not UTF-8 JSON: {error}"
                    failure = MeshError("INVALID_ARGUMENT", message, delivery="refused")
                    self._skipped(bytes(payload[:256]), failure)
                    continue
                self._take(value, HEADER_BYTES + len(payload))
        except FramingError as error:
            self._warn("framing", f"{error}; its channel is reset")
            self.stream.reset(h2.errors.ErrorCodes.PROTOCOL_ERROR, MeshError("RESOURCE_EXHAUSTED", str(error)))

    def on_end(self) -> None:
        if self._decoder.in_frame:
            self._warn("cut", "its channel ended inside a message")
        self._fail_calls(unavailable(f"{self.peer.service} ended its channel before it answered", "unknown"))
        if self._raw is not None:
            self._raw.finish(None)
        self._end_when_idle()

    def on_closed(self, error: Optional[MeshError]) -> None:
        self.executor.stop()
        self._fail_calls(error or unavailable(f"the channel to {self.peer.service} was closed", "unknown"))
        if self._raw is not None:
            self._raw.closed(error)

    # --- the default raw channel on this stream ---

    def offer_raw(self) -> bool:
        """Starts the default raw handler, unless there is none or it has run already."""
        if self._raw is None:
            self._raw = self._start_raw(self)
            self._raw_running = self._raw is not None
        return self._raw_running

    async def raw_done(self) -> None:
        """The default raw handler is through; a stream that carried nothing else is over with it."""
        self._raw_running = False
        if self._raw is not None and not self.packets_seen and not self._calls:
            await self._raw.close(timeout=None)
        else:
            self._end_when_idle()

    # --- inside ---

    def _take(self, value: Any, size: int) -> None:
        kind = kind_of(value)
        extended = self.peer.extended
        if kind == "response" and (extended or value["id"] in self._calls):
            self._on_response(value, size)
        elif kind in ("request", "event"):
            self.packets_seen = True
            self._on_call(value, kind == "request")
        elif kind == "cancel" and extended:
            self.executor.cancel(value["id"])
        elif kind == "drain" and extended:
            self.stop_requests()
        elif kind == "open" and extended:
            self._warn("open", "it asked this side to open a stream, which this peer does not do")
        elif self.offer_raw() and self._raw is not None:
            self._raw.push(value, size)
        else:
            self._warn("raw", "it sent a message that is no packet, and no @peer.channel() takes such")

    def _on_call(self, packet: Dict[str, Any], is_request: bool) -> None:
        try:
            self.executor.admit(packet)
        except MeshError as error:
            self._warn(error.code, error.message)
            if "id" in packet:
                self.executor.refuse(packet["id"], error)
            return
        if is_request:
            self.executor.request(packet)
        else:
            self.executor.event(packet)

    def _on_response(self, packet: Dict[str, Any], size: int) -> None:
        call = self._calls.get(packet["id"])
        if call is None:
            log.debug("a response of %s for the unknown or finished call %r", self.peer.service, packet["id"])
            return
        ended = bool(packet.get("isDisposed"))
        if packet.get("err"):
            del self._calls[call.id]
            error = error_from_wire(packet["err"])
            if isinstance(error, MeshError):
                error.at(self.peer.service, self.peer.node_id)
            call.finish(error)
            return
        if "response" in packet:
            call.add(packet["response"], size)
        if ended:
            del self._calls[call.id]
            call.finish()

    def _skipped(self, head: bytes, error: MeshError) -> None:
        """A message that could not be read fails the one call it belongs to, and the channel lives on."""
        self._warn(error.code, error.message)
        peeked = peek_id(head)
        if peeked is None:
            return
        if peeked.is_request:
            self.executor.refuse(peeked.id, error)
        elif peeked.id in self._calls:
            error.delivery = "unknown"
            self._calls[peeked.id].finish(error.at(self.peer.service, self.peer.node_id))

    def _fail_calls(self, error: MeshError) -> None:
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.finish(
                MeshError(error.code, error.message, delivery="unknown").at(self.peer.service, self.peer.node_id)
            )

    def _end_when_idle(self) -> None:
        leaving = self.stream.remote_ended or self.draining
        if leaving and not self.busy and not self._raw_running:
            self.stream.end()

    def _warn(self, about: str, message: str) -> None:
        """One warning a channel and fault; a peer that repeats it must not flood the log."""
        level = logging.DEBUG if about in self._warned else logging.WARNING
        self._warned.add(about)
        log.log(level, "%s at %s: %s", self.peer.service, self.peer.address, message)
