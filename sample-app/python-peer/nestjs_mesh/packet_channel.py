"""The packet channel: one long-lived stream that carries all ordinary calls and events between two nodes, both ways."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Iterable, Optional, Tuple

from h2.errors import ErrorCodes

from .channel import Channel, PeerInfo
from .codec import is_event_head
from .errors import MeshError, unavailable
from .inbound_calls import InboundCalls
from .outbound_calls import OutboundCalls
from .packets import kind_of
from .side_packets import SidePackets
from .stream import Reader, Stream

if TYPE_CHECKING:
    from .session import Session


class PacketChannel(Reader):
    """Hands each message of a stream to whom it concerns: our open calls, the handlers, the default raw channel."""

    def __init__(self, stream: Stream, peer: PeerInfo, session: Session) -> None:
        self.stream = stream
        self.peer = peer
        #: True when this side opened the channel.
        self.dialled = session.record is not None
        self._session = session
        #: The packets that leave on streams of their own.
        self.side = SidePackets(session, self)
        #: What this side asks of the peer, and what the peer asks of it.
        self.calls = OutboundCalls(self, session, self._end_when_idle)
        self._inbound = InboundCalls(self, session, self._end_when_idle)
        self._raw: Optional[Channel] = None
        self._raw_running = False
        #: False while the stream has carried nothing but raw values.
        self._packets_seen = False
        #: True when this side sends no new requests here, and when its half ends as soon as it is idle.
        self._retired = False
        self._leaving = False
        #: Set once no new requests can be sent.
        self.unusable = asyncio.Event()

    @property
    def usable(self) -> bool:
        """True when new requests may be sent."""
        stream = self.stream
        return stream.writable and not (stream.remote_ended or self._retired or stream.connection.going)

    @property
    def busy(self) -> bool:
        """True while calls of either side are open."""
        return bool(self.calls or self._inbound or self.side)

    def chosen(self) -> PacketChannel:
        """This one, for something to send; notes that its session is in use."""
        self._session.used_at = self.stream.connection.loop.time()
        return self

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
        if kind in ("response", "placeholder") and (extended or (kind == "response" and value["id"] in self.calls)):
            self.calls.on_response(value, size)
        elif kind in ("request", "event"):
            self._packets_seen = True
            if kind == "request":
                self._inbound.on_request(value)
            else:
                self._inbound.on_event(value)
        elif kind == "cancel" and extended:
            self._inbound.cancel(value["id"])
        elif kind == "drain" and extended:
            self.retire()
        elif kind == "open" and extended:
            fault = self._session.serving.on_open(value, self)
            if fault is not None:
                self.warn("open", fault)
        elif self.offer_raw() and self._raw is not None:
            self._raw.on_value(value, size)
        else:
            self.warn("raw", "sent a message that is no packet, and no @peer.channel() takes such")

    def on_unreadable(self, head: bytes, error: MeshError) -> None:
        """Fails the one call that it belongs to, and the channel lives on."""
        self.warn(error.code, error.message)
        peeked = self.stream.codec.peek_id(head)
        if peeked is not None and peeked.is_request:
            self._inbound.refuse(peeked.id, error)
        elif peeked is not None and peeked.id in self.calls:
            error.delivery = "unknown"
            self.calls.fail(peeked.id, error)
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
        self.warn("side", f"sent a large message that is lost: {error or 'it is no request and no event'}")
        peeked = self.stream.codec.peek_id(packet) if error is not None else None
        if error is not None and peeked is not None and peeked.is_request and self.stream.writable:
            self._inbound.refuse(peeked.id, error)

    def on_end(self, error: Optional[MeshError]) -> None:
        self.unusable.set()
        self.calls.fail_all(unavailable(f"{self.peer.service} ended its channel before it answered", "unknown"))
        if self._raw is not None:
            self._raw.on_end(error)
        self._end_when_idle()

    def on_closed(self, error: Optional[MeshError]) -> None:
        self.unusable.set()
        self.side.close()
        self._session.opening.forget(self)
        self._inbound.close()
        self.calls.close(error)
        if self._raw is not None:
            self._raw.on_closed(error)

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
        if self._raw is not None and not self._packets_seen and not self.calls:
            await self._raw.close(timeout=None)
        else:
            self._end_when_idle()

    def raw_failed(self, error: MeshError, trailers: Iterable[Tuple[str, str]]) -> None:
        """The default raw handler has failed: the calls on the stream go on, unless part 1 has made the two one."""
        if self._raw is None:
            return
        if self.peer.extended:
            self._raw.on_closed(error)
        else:
            self._raw.abort(error)

    def warn(self, about: str, message: str) -> None:
        """One warning for each kind of fault of the peer."""
        self.stream.warn(about, f"{self.peer.service} {message}")
