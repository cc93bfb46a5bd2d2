"""The packet channel: one long-lived stream that carries all ordinary calls and events between two nodes, both ways."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Deque, Dict, List, Optional

from h2.errors import ErrorCodes

from .answer_order import AnswerOrder
from .channel import Channel, PeerInfo
from .codec import CallId, is_event_head
from .context import Context
from .errors import MeshError, NoHandlerError, error_from_wire, is_failure, unavailable
from .events import unhandled
from .frames import encode_frame
from .handlers import Served
from .headers import metadata_of
from .inbound_call import InboundCall
from .outbound_call import OutboundCall
from .packets import is_place_holder, is_token, kind_of, route_of, string_metadata
from .side_packets import Arrival, Departure, SidePackets
from .stream import Reader, Stream

if TYPE_CHECKING:
    from .session import Session

log = logging.getLogger("nestjs_mesh")

#: Calls and events of one channel that may be running at once; more are refused.
MAX_RUNNING = 10_000
#: JavaScript's largest exact integer.
MAX_TIMEOUT_MS = 2**53 - 1


class PacketChannel(Reader):
    """Hands each message of a stream to whom it concerns: our open calls, the handlers, the default raw channel."""

    def __init__(self, stream: Stream, peer: PeerInfo, session: Session) -> None:
        self.stream = stream
        self.peer = peer
        #: True when this side opened the channel.
        self.dialled = session.record is not None
        self._session = session
        self._handlers = session.core.handlers
        self._side = SidePackets(session, self)
        #: What the peer said when the channel opened; goes with each of its calls.
        self._metadata = metadata_of(stream.headers)
        self._raw: Optional[Channel] = None
        self._raw_running = False
        #: False while the stream has carried nothing but raw values.
        self._packets_seen = False
        #: True when this side sends no new requests here, and when its half ends as soon as it is idle.
        self._retired = False
        self._leaving = False
        #: Set once no new requests can be sent.
        self.unusable = asyncio.Event()
        self._last_id = 0
        #: Where in the bytes of the stream the events end that may not have left yet.
        self._unsent_events: Deque[int] = deque()
        self._outbound: Dict[CallId, OutboundCall] = {}
        self._inbound: Dict[Any, InboundCall] = {}

    @property
    def usable(self) -> bool:
        """True when new requests may be sent."""
        stream = self.stream
        return stream.writable and not (stream.remote_ended or self._retired or stream.connection.going)

    @property
    def busy(self) -> bool:
        """True while calls of either side are open."""
        return bool(self._outbound or self._inbound or self._side)

    # --- our calls ---

    def open(
        self,
        pattern: Any,
        data: Any,
        deadline: Optional[float],
        metadata: Dict[str, str],
        ack: Optional[str] = None,
    ) -> OutboundCall:
        """Sends a request or, with `ack`, an event whose acknowledgement is the end of the call.

        deadline -- an instant of the event loop's clock; the call fails by itself then
        """
        if ack is not None and not self.peer.extended:
            message = f"{self.peer.service} acknowledges no events: it does not say x-mesh-version"
            raise MeshError("UNIMPLEMENTED", message, delivery="refused")
        self._last_id += 1
        packet: Dict[str, Any] = {"id": self._last_id, "pattern": pattern, "data": data}
        if ack is not None:
            packet = {"id": self._last_id, "event": True, "pattern": pattern, "data": data}
        if ack == "handled":
            packet["ack"] = ack
        if metadata:
            packet["metadata"] = metadata
        if deadline is not None and self.peer.extended:
            packet["timeout"] = max(1, int((deadline - self.stream.connection.loop.time()) * 1000))
        call_id = self._last_id
        self._send(call_id, packet, "the data", lambda error: self._fail(call_id, error))
        self._outbound[call_id] = call = OutboundCall(lambda: self._release(call_id))
        call.expire_at(deadline, f"{self.peer.service} did not answer {route_of(pattern)} within the call's timeout")
        return call

    async def emit(self, pattern: Any, data: Any, metadata: Dict[str, str]) -> None:
        """Sends an event; returns when the transport has taken it."""
        packet: Dict[str, Any] = {"pattern": pattern, "data": data}
        if metadata:
            packet["metadata"] = metadata
        failures: List[MeshError] = []
        departure = self._send(None, packet, "the event", failures.append)
        if departure is None:
            while self._unsent_events and self._unsent_events[0] <= self.stream.sent_bytes:
                self._unsent_events.popleft()
            self._unsent_events.append(self.stream.sent_bytes + self.stream.pending_bytes)
        await (self.stream.drain() if departure is None else departure.over.wait())
        for failure in failures:
            raise failure.at(self.peer.service, self.peer.node_id)

    def _send(
        self, call_id: Optional[CallId], packet: Dict[str, Any], what: str, failed: Callable[[MeshError], None]
    ) -> Optional[Departure]:
        """Sends a packet here or, when it is large and a stream can be had, beside."""
        payload = self.stream.encode(packet, what)
        if self._side.is_large(payload):

            def left(error: Optional[MeshError]) -> None:
                if error is not None:
                    failed(error)
                self._end_when_idle()

            try:
                return self._side.send(call_id, payload, left)
            except MeshError as error:
                log.debug("%s goes with the others: %s", what, error)
        self.stream.write(encode_frame(payload))
        return None

    def _fail(self, call_id: CallId, error: MeshError) -> None:
        """Ends a call of ours; the peer is told once the caller has taken note."""
        call = self._outbound.get(call_id)
        if call is not None:
            call.finish(error.at(self.peer.service, self.peer.node_id))
            if call.order is not None:
                call.order.stop()

    def _forget(self, call_id: CallId) -> bool:
        """A call of ours is over; False when it was already."""
        call = self._outbound.pop(call_id, None)
        if call is not None and call.order is not None:
            call.order.stop()
        return call is not None

    def _release(self, call_id: CallId) -> None:
        self._side.cancel(False, call_id)
        if self._forget(call_id) and self.peer.extended and self.stream.writable:
            self.stream.send({"id": call_id, "cancel": True}, "cancel")
        self._end_when_idle()

    # --- leaving ---

    def drain(self) -> None:
        """Asks the peer for no new requests. Who dialled a channel ends it then, so the other one uses it no more."""
        self._retired = self._retired or not self.dialled
        if self.peer.extended and self.stream.writable:
            self.stream.send({"drain": True}, "drain")

    def retire(self) -> None:
        """The peer takes no new requests.

        Who has dialled, and who calls a node without a port, ends its half once nothing is open: it is done.
        """
        self._retired, self._leaving = True, self.dialled or not self.peer.listens
        self.unusable.set()
        self._end_when_idle()

    def _end_when_idle(self) -> None:
        if (self.stream.remote_ended or self._leaving) and not self.busy and not self._raw_running:
            self.stream.end()

    # --- Reader ---

    def on_value(self, value: Any, size: int) -> None:
        kind = kind_of(value)
        extended = self.peer.extended
        if kind == "response" and (extended or value["id"] in self._outbound):
            self._on_response(value, size)
        elif kind in ("request", "event"):
            self._packets_seen = True
            if kind == "request":
                self._on_call(value, self._handlers.find_handler(value["pattern"]))
            else:
                self._on_event(value)
        elif kind == "cancel" and extended:
            self._side.cancel(True, value["id"])
            if value["id"] in self._inbound:
                self._inbound[value["id"]].cancel()
        elif kind == "drain" and extended:
            self.retire()
        elif kind == "open" and extended:
            fault = self._session.serving.on_open(value, self)
            if fault is not None:
                self._warn("open", fault)
        elif extended and is_place_holder(value):
            self._on_response(value, size)
        elif self.offer_raw() and self._raw is not None:
            self._raw.on_value(value, size)
        else:
            self._warn("raw", "sent a message that is no packet, and no @peer.channel() takes such")

    def on_unreadable(self, head: bytes, error: MeshError) -> None:
        """Fails the one call that it belongs to, and the channel lives on."""
        self._warn(error.code, error.message)
        peeked = self.stream.codec.peek_id(head)
        if peeked is not None and peeked.is_request:
            self._reply(peeked.id, {"err": error.to_wire(), "isDisposed": True, "status": "error"})
        elif peeked is not None and peeked.id in self._outbound:
            error.delivery = "unknown"
            self._fail(peeked.id, error)
        elif peeked is None and error.code == "RESOURCE_EXHAUSTED" and not (self.peer.extended and is_event_head(head)):
            error.delivery = "unknown"
            if self._raw is not None and self.peer.extended:
                self._raw.on_closed(error)  # a value is missing, which its reader must see
            else:  # whose it was cannot be told, so all that is open here ends rather than one call hanging
                self.stream.reset(ErrorCodes.ENHANCE_YOUR_CALM, error)

    def on_side_packet(self, packet: Any, size: int, error: Optional[MeshError]) -> None:
        """A request or an event that has come on a stream of its own; its first bytes where it cannot be read."""
        if error is None and kind_of(packet) in ("request", "event") and not self.stream.closed:
            self.on_value(packet, size)
            return
        self._warn("side", f"sent a large message that is lost: {error or 'it is no request and no event'}")
        peeked = self.stream.codec.peek_id(packet) if error is not None else None
        if error is not None and peeked is not None and peeked.is_request and self.stream.writable:
            self._reply(peeked.id, {"err": error.to_wire(), "isDisposed": True, "status": "error"})

    def on_end(self, error: Optional[MeshError]) -> None:
        self.unusable.set()
        self._fail_calls(unavailable(f"{self.peer.service} ended its channel before it answered", "unknown"))
        if self._raw is not None:
            self._raw.on_end(error)
        self._end_when_idle()

    def on_closed(self, error: Optional[MeshError]) -> None:
        self.unusable.set()
        self._side.close()
        self._session.opening.forget(self)
        lost = sum(end > self.stream.sent_bytes for end in self._unsent_events)
        if lost:
            counts, peer = self._handlers.event_counts, self.peer
            counts.sent -= lost  # as which they were counted when they were queued
            counts.lost += lost
            log.warning("%d event(s) for %s (%s) were lost: the channel closed first", lost, peer.service, peer.address)
        for call in list(self._inbound.values()):
            call.cancel()
        self._fail_calls(error or unavailable(f"the channel to {self.peer.service} was closed", "unknown"))
        if self._raw is not None:
            self._raw.on_closed(error)

    def _on_response(self, packet: Dict[str, Any], size: int) -> None:
        call = self._outbound.get(packet["id"])
        if call is None:
            log.debug("a response of %s for the unknown or finished call %r", self.peer.service, packet["id"])
            self._session.opening.drop(packet.get("open"))
        elif "open" in packet or call.order:
            self._on_ordered(call, packet, size)
        else:
            self._deliver(call, packet, size)

    def _on_ordered(self, call: OutboundCall, packet: Dict[str, Any], size: int) -> None:
        """A packet that has to wait for one before it, or that stands for one on a stream of its own."""
        call_id, token = packet["id"], packet.get("open")
        if call.order is None:
            call.order = AnswerOrder(lambda packet, size: self._deliver(call, packet, size))
        try:
            if token is None:
                call.order.add(packet, size)
            elif is_failure(packet.get("err")):
                call.order.replace(token, packet)
            elif is_token(token):
                call.order.expect(token, lambda taker: self._fetch(call_id, token, taker))
            else:
                raise MeshError("DATA_LOSS", "a large message was announced by a token that is none")
        except MeshError as error:
            self._fail(call_id, error)

    def _fetch(self, call_id: CallId, token: str, take: Callable[[Dict[str, Any], int], None]) -> Arrival:
        def taken(packet: Any, size: int, error: Optional[MeshError]) -> None:
            if error is None and (kind_of(packet) != "response" or packet["id"] != call_id or "open" in packet):
                error = MeshError("DATA_LOSS", "a large message is no packet of its call")
            if error is None:
                take(packet, size)
            else:
                self._fail(call_id, MeshError(error.code, error.message, delivery="unknown"))

        return self._session.opening.fetch(token, self, taken)

    def _deliver(self, call: OutboundCall, packet: Dict[str, Any], size: int) -> None:
        failed = is_failure(packet.get("err"))
        if not failed and "response" in packet:
            call.put(packet["response"], size)
        if failed or packet.get("isDisposed"):
            self._forget(packet["id"])
            error = error_from_wire(packet["err"], packet.get("errorId")) if failed else None
            call.finish(error.at(self.peer.service, self.peer.node_id) if isinstance(error, MeshError) else error)

    def _fail_calls(self, error: MeshError) -> None:
        for call_id in list(self._outbound):
            self._fail(call_id, MeshError(error.code, error.message, delivery="unknown"))
        self._outbound.clear()

    # --- calls of the peer ---

    def _on_call(self, packet: Dict[str, Any], served: Optional[Served], is_event: bool = False) -> None:
        call_id = packet["id"]
        if call_id in self._inbound:
            self._warn("duplicate", f"sent a second request with the id {call_id!r} while the first is open; ignored")
            return

        def reply(answer: Dict[str, Any]) -> None:
            if not self.peer.extended:
                answer.pop("errorId", None)
            if is_event:
                answer.pop("response", None)
            self._reply(call_id, answer)

        def done(call: InboundCall) -> None:
            del self._inbound[call_id]
            self._end_when_idle()

        self._inbound[call_id] = call = InboundCall(reply, lambda: self._ready(call_id), done)
        try:
            ctx = self._admit(packet)
        except MeshError as error:
            self._warn(error.code, error.message)
            call.refuse(error)
            return
        if served is not None:
            call.run(served, packet.get("data"), ctx)
        else:
            call.refuse(NoHandlerError())

    def _on_event(self, packet: Dict[str, Any]) -> None:
        """An event with an id asks for an acknowledgement: that it was taken or, with `ack: handled`, is done with."""
        handlers, events = self._handlers.receive_event(packet["pattern"], self.peer.service), self._handlers.events
        failure: Optional[MeshError] = None
        if not handlers:
            failure = unhandled(route_of(packet["pattern"]))
        elif "id" in packet and packet.get("ack") == "handled":
            served = Served(lambda data, ctx: events.run(handlers, data, ctx))
            self._on_call(packet, served, is_event=True)
            return
        else:
            try:
                events.start(handlers, packet.get("data"), self._admit(packet))
            except MeshError as error:
                self._handlers.event_counts.failed += 1
                failure = error
                log.error("the event %s of %s: %s", packet["pattern"], self.peer.service, error.message)
        if "id" in packet:
            err = {} if failure is None else {"err": failure.to_wire(), "status": "error"}
            self._reply(packet["id"], {**err, "isDisposed": True})

    def _admit(self, packet: Dict[str, Any]) -> Context:
        """What its handler may know; MeshError (`refused`) when it cannot be started."""
        if len(self._inbound) + len(self._handlers.events.tasks) > MAX_RUNNING:
            message = f"{MAX_RUNNING} calls of this channel are running already"
            raise MeshError("RESOURCE_EXHAUSTED", message, delivery="refused")
        route, metadata = route_of(packet["pattern"]), {**self._metadata, **string_metadata(packet.get("metadata"))}
        timeout = packet.get("timeout")
        if timeout is None or not self.peer.extended:
            return Context(route, self.peer, metadata, None, self._session)
        if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or timeout > MAX_TIMEOUT_MS:
            message = f"timeout must be a number of milliseconds up to {MAX_TIMEOUT_MS}; got {str(timeout)[:100]!r}"
            raise MeshError("INVALID_ARGUMENT", message, delivery="refused")
        if timeout <= 0:
            raise MeshError("DEADLINE_EXCEEDED", "the call's timeout had passed when it arrived", delivery="refused")
        deadline = self.stream.connection.loop.time() + timeout / 1000
        return Context(route, self.peer, metadata, deadline, self._session)

    def _reply(self, call_id: CallId, answer: Dict[str, Any]) -> None:
        # The id first: who cannot read the rest then still knows whose it is.
        payload = self.stream.encode({"id": call_id, **answer}, "the answer")
        if self._side.is_large(payload):
            try:
                self._side.send_answer(call_id, payload, lambda token, error: self._replied(call_id, token, error))
                return
            except MeshError as error:
                log.debug("a large answer goes with the others: %s", error)
        self.stream.write(encode_frame(payload))

    def _replied(self, call_id: CallId, token: str, error: Optional[MeshError]) -> None:
        """A packet of an answer has left on its own stream, or could not: then the caller is told in its place."""
        if error is not None and self.stream.writable:
            wire = unavailable(f"a large answer could not be sent: {error.message}", "unknown").to_wire()
            answer = {"id": call_id, "open": token, "err": wire, "isDisposed": True, "status": "error"}
            self.stream.send(answer, "the answer")
            if call_id in self._inbound:
                self._inbound[call_id].cancel()
        self._end_when_idle()

    async def _ready(self, call_id: Optional[CallId]) -> None:
        """Waits until the caller has room for the next packet of an answer."""
        await self.stream.drain()
        if self._side and call_id is not None:
            await self._side.ready(call_id)

    # --- the default raw channel on this stream ---

    def offer_raw(self) -> bool:
        """Starts the default raw handler, unless there is none or it has run already."""
        if self._raw is None:
            self._raw = self._session.serving.start_raw(self)
            self._raw_running = self._raw is not None
        return self._raw_running

    async def raw_done(self) -> None:
        """The default raw handler is through; a stream that carried nothing else is over with it."""
        self._raw_running = False
        if self._raw is not None and not self._packets_seen and not self._outbound:
            await self._raw.close(timeout=None)
        else:
            self._end_when_idle()

    def _warn(self, about: str, message: str) -> None:
        self.stream.warn(about, f"{self.peer.service} {message}")
