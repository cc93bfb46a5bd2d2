"""The calls and events of this side on a packet channel: what is sent, and what comes back for it."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Deque, Dict, List, Optional

from .answer_order import AnswerOrder
from .codec import CallId
from .errors import MeshError, error_from_wire, is_failure, unavailable
from .frames import encode_frame
from .outbound_call import Awaited, OneAnswer, OutboundCall, late
from .packets import is_token, kind_of
from .side_packets import Arrival, Departure
from .stream import HIGH_WATER_BYTES

if TYPE_CHECKING:
    from .packet_channel import PacketChannel
    from .session import Session

log = logging.getLogger("nestjs_mesh")


class OutboundCalls:
    """Those that are open, by their ids. True while there are some.

    on_idle -- called when one of them is over
    """

    def __init__(self, packets: PacketChannel, session: Session, on_idle: Callable[[], None]) -> None:
        self.stream = packets.stream
        self.peer = packets.peer
        self.loop = packets.stream.connection.loop
        self.deadlines = packets.stream.connection.deadlines
        self._packets = packets
        self._side = packets.side
        self._opening = session.opening
        self._counts = session.core.handlers.event_counts
        self._on_idle = on_idle
        self._last_id = 0
        #: Where in the bytes of the stream the events end that may not have left yet.
        self._unsent_events: Deque[int] = deque()
        self._open: Dict[CallId, Awaited] = {}

    def __bool__(self) -> bool:
        return bool(self._open)

    def __contains__(self, call_id: CallId) -> bool:
        return call_id in self._open

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
        call_id = self._request(pattern, data, deadline, metadata, ack)
        self._open[call_id] = call = OutboundCall(self.deadlines, lambda: self.release(call_id))
        call.expire_at(deadline, late(self.peer.service, pattern))
        return call

    def ask(self, pattern: Any, data: Any, deadline: Optional[float], metadata: Dict[str, str]) -> OneAnswer:
        """Sends a request of whose answer only the last value is wanted; for the rest as `open`."""
        call_id = self._request(pattern, data, deadline, metadata, None)
        self._open[call_id] = call = OneAnswer(self, call_id, pattern)
        if deadline is not None:
            self.deadlines.add(call, deadline)
        return call

    def _request(
        self, pattern: Any, data: Any, deadline: Optional[float], metadata: Dict[str, str], ack: Optional[str]
    ) -> int:
        self._last_id = call_id = self._last_id + 1
        packet: Dict[str, Any] = {"id": call_id, "pattern": pattern, "data": data}
        if ack is not None:
            packet = {"id": call_id, "event": True, "pattern": pattern, "data": data}
            if ack == "handled":
                packet["ack"] = ack
        if metadata:
            packet["metadata"] = metadata
        if deadline is not None and self.peer.extended:
            packet["timeout"] = max(1, int((deadline - self.loop.time()) * 1000))
        self._send(call_id, packet, "the data")
        return call_id

    async def emit(self, pattern: Any, data: Any, metadata: Dict[str, str]) -> None:
        """Sends an event; returns when the transport has taken it."""
        packet: Dict[str, Any] = {"pattern": pattern, "data": data}
        if metadata:
            packet["metadata"] = metadata
        failures: List[MeshError] = []
        departure = self._send(None, packet, "the event", failures.append)
        if departure is None:
            stream, unsent = self.stream, self._unsent_events
            sent, pending = stream.sent_bytes, stream.pending_bytes
            while unsent and unsent[0] <= sent:
                unsent.popleft()
            unsent.append(sent + pending)
            if pending > HIGH_WATER_BYTES:
                await stream.drain()
            return
        await departure.over.wait()
        for failure in failures:
            raise failure.at(self.peer.service, self.peer.node_id)

    def on_response(self, packet: Dict[str, Any], size: int) -> None:
        """A packet of an answer has come, or a place-holder for one."""
        call = self._open.get(packet["id"])
        if call is None:
            log.debug("a response of %s for the unknown or finished call %r", self.peer.service, packet["id"])
            self._opening.drop(packet.get("open"))
        elif "open" in packet or call.order:
            self._on_ordered(call, packet, size)
        else:
            self._deliver(call, packet, size)

    def fail(self, call_id: CallId, error: MeshError) -> None:
        """Ends a call of ours; the peer is told once the caller has taken note."""
        call = self._open.get(call_id)
        if call is not None:
            call.finish(error.at(self.peer.service, self.peer.node_id))
            if call.order is not None:
                call.order.stop()

    def fail_all(self, error: MeshError) -> None:
        """No more answers will come."""
        for call_id in list(self._open):
            self.fail(call_id, MeshError(error.code, error.message, delivery="unknown"))
        self._open.clear()

    def close(self, error: Optional[MeshError]) -> None:
        """The channel is over: what it has not taken yet is lost."""
        lost = sum(end > self.stream.sent_bytes for end in self._unsent_events)
        if lost:
            counts, peer = self._counts, self.peer
            counts.sent -= lost  # as which they were counted when they were queued
            counts.lost += lost
            log.warning("%d event(s) for %s (%s) were lost: the channel closed first", lost, peer.service, peer.address)
        self.fail_all(error or unavailable(f"the channel to {self.peer.service} was closed", "unknown"))

    def _send(
        self,
        call_id: Optional[CallId],
        packet: Dict[str, Any],
        what: str,
        failed: Optional[Callable[[MeshError], None]] = None,
    ) -> Optional[Departure]:
        """Sends a packet here or, when it is large and a stream can be had, beside; then it can fail later on."""
        payload = self.stream.encode(packet, what)
        if self._side.is_large(payload):

            def left(error: Optional[MeshError]) -> None:
                if error is not None and failed is not None:
                    failed(error)
                elif error is not None and call_id is not None:
                    self.fail(call_id, error)
                self._on_idle()

            try:
                return self._side.send(call_id, payload, left)
            except MeshError as error:
                log.debug("%s goes with the others: %s", what, error)
        self.stream.write(encode_frame(payload))
        return None

    def _forget(self, call_id: CallId) -> bool:
        """A call of ours is over; False when it was already."""
        call = self._open.pop(call_id, None)
        if call is not None and call.order is not None:
            call.order.stop()
        return call is not None

    def release(self, call_id: CallId) -> None:
        """The caller is done with a call: what the peer has not ended yet is cancelled there."""
        if self._side:
            self._side.cancel(False, call_id)
        if self._forget(call_id) and self.peer.extended and self.stream.writable:
            self.stream.send({"id": call_id, "cancel": True}, "cancel")
        self._on_idle()

    def _on_ordered(self, call: Awaited, packet: Dict[str, Any], size: int) -> None:
        """A packet that has to wait for one before it, or that stands for one on a stream of its own."""
        call_id, token = packet["id"], packet.get("open")
        if call.order is None:
            call.order = AnswerOrder(lambda packet, size: self._deliver(call, packet, size))
        try:
            if token is None:
                call.order.add(packet, size)
            elif is_failure(packet.get("err")):
                call.order.replace(token, packet)
            elif call.order.waits_for(token):
                raise unavailable("two large messages were announced by one token", "unknown")
            elif is_token(token):
                call.order.expect(token, lambda taker: self._fetch(call_id, token, taker))
            else:
                raise unavailable("a large message was announced by a token that is none", "unknown")
        except MeshError as error:
            self.fail(call_id, error)

    def _fetch(self, call_id: CallId, token: str, take: Callable[[Dict[str, Any], int], None]) -> Arrival:
        def taken(packet: Any, size: int, error: Optional[MeshError]) -> None:
            if error is None and (kind_of(packet) != "response" or packet["id"] != call_id or "open" in packet):
                error = unavailable("a large message is no packet of its call", "unknown")
            if error is None:
                take(packet, size)
            else:
                self.fail(call_id, MeshError(error.code, error.message, delivery="unknown"))

        return self._opening.fetch(token, self._packets, taken)

    def _deliver(self, call: Awaited, packet: Dict[str, Any], size: int) -> None:
        if "err" in packet and is_failure(packet["err"]):
            self._forget(packet["id"])
            error = error_from_wire(packet["err"], packet.get("errorId"))
            call.finish(error.at(self.peer.service, self.peer.node_id) if isinstance(error, MeshError) else error)
            return
        if "response" in packet:
            call.put(packet["response"], size)
        if packet.get("isDisposed"):
            self._forget(packet["id"])
            call.finish()
