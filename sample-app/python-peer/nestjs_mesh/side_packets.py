"""Large packets: each travels on a stream of its own beside its packet channel, so that small ones never wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

from h2.errors import ErrorCodes

from .codec import CallId
from .errors import MeshError, unavailable
from .frames import encode_frame
from .http2 import MAX_STREAMS, STREAM_WINDOW_BYTES
from .keep_alive import CONNECT_TIMEOUT
from .stream import Reader, Stream

if TYPE_CHECKING:
    from .packet_channel import PacketChannel
    from .session import Session

#: Takes a packet and its size; or what went wrong, with the first bytes of the packet where they are known.
Taker = Callable[[Any, int, Optional[MeshError]], None]
#: Told once that the peer has all of a packet (None), or what went wrong.
Done = Callable[[Optional[MeshError]], None]


class Departure(Reader):
    """A packet that leaves: the only frame of our half of its stream."""

    def __init__(self, stream: Stream, payload: bytes, done: Done) -> None:
        #: Set when its stream is over.
        self.over = asyncio.Event()
        self._stream = stream
        self._done = done
        stream.reader = self
        stream.write(encode_frame(payload))
        stream.end()

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._done = lambda error: None
        self._stream.reset(ErrorCodes.CANCEL)

    def on_closed(self, error: Optional[MeshError]) -> None:
        self.over.set()
        if error is not None and error.delivery != "refused":
            error = MeshError(error.code, error.message, delivery="unknown" if self._stream.sent_bytes else "not-sent")
        self._done(error)


class Arrival(Reader):
    """A packet that comes: handed over once both it and who waits for it are there, in either order."""

    def __init__(self, taker: Optional[Taker] = None) -> None:
        self._taker = taker
        self._stream: Optional[Stream] = None
        self._cancelled = False
        self._come: Optional[Any] = None

    def carry(self, stream: Stream) -> None:
        """Its stream is there; it stays unread until it is known what for."""
        self._stream = stream
        stream.reader = self
        if self._cancelled:
            stream.reset(ErrorCodes.CANCEL)
        elif self._taker is None:
            stream.hold(STREAM_WINDOW_BYTES)

    def take(self, taker: Taker) -> None:
        """Who waits for it is there."""
        self._taker = taker
        if self._stream is not None:
            self._stream.hold(-STREAM_WINDOW_BYTES)
        self._hand_over()

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._cancelled = True
        if self._stream is not None:
            self._stream.reset(ErrorCodes.CANCEL)

    def fail(self, error: MeshError) -> None:
        """It will not come."""
        self._settle(b"", 0, error)
        self.cancel()

    def on_value(self, value: Any, size: int) -> None:
        self._settle(value, size, None)

    def on_unreadable(self, head: bytes, error: MeshError) -> None:
        self._settle(head, 0, error)

    def on_end(self, error: Optional[MeshError]) -> None:
        self._settle(b"", 0, error or unavailable("the stream of a large message had no frame", "unknown"))

    def on_closed(self, error: Optional[MeshError]) -> None:
        self._settle(b"", 0, error or unavailable("the stream of a large message broke", "unknown"))

    def _settle(self, *come: Any) -> None:
        if self._come is None:
            self._come = come
            self._hand_over()

    def _hand_over(self) -> None:
        if self._come is not None and self._taker is not None and not self._cancelled:
            self._taker(*self._come)


class Arrivals:
    """What comes by a token: of stream and place-holder the first waits for the other, CONNECT_TIMEOUT at most."""

    def __init__(self) -> None:
        self._waiting: Dict[str, Arrival] = {}
        self._timers: Dict[str, asyncio.TimerHandle] = {}

    def carry(self, token: str, stream: Stream) -> None:
        """The stream of a token is there. MeshError when too many wait."""
        if token not in self._waiting and len(self._waiting) >= MAX_STREAMS:
            raise MeshError("RESOURCE_EXHAUSTED", f"{MAX_STREAMS} large messages without a place wait already")
        self._meet(token).carry(stream)

    def take(self, token: str, taker: Taker) -> Arrival:
        """The place-holder of a token is there."""
        arrival = self._meet(token)
        arrival.take(taker)
        return arrival

    def close(self) -> None:
        """The session is over."""
        for timer in self._timers.values():
            timer.cancel()
        self._waiting.clear()
        self._timers.clear()

    def _meet(self, token: str) -> Arrival:
        arrival = self._waiting.pop(token, None)
        if arrival is not None:
            self._timers.pop(token).cancel()
            return arrival
        arrival = self._waiting[token] = Arrival()
        self._timers[token] = asyncio.get_event_loop().call_later(CONNECT_TIMEOUT, self._expire, token)
        return arrival

    def _expire(self, token: str) -> None:
        del self._timers[token]
        reason = f"the stream of a large message did not come within {CONNECT_TIMEOUT:g} s"
        self._waiting.pop(token).fail(unavailable(reason, "unknown"))


class SidePackets:
    """The packets of one channel that leave on streams of their own."""

    def __init__(self, session: Session, packets: PacketChannel) -> None:
        self._session = session
        self._packets = packets
        self._limit = session.core.large_message_bytes if packets.peer.extended else 0
        #: With the call of each: one of ours, or one of the peer's (True) that is answered.
        self._leaving: Dict[Departure, Tuple[bool, Optional[CallId]]] = {}

    def __bool__(self) -> bool:
        """True while some are leaving."""
        return bool(self._leaving)

    def is_large(self, payload: bytes) -> bool:
        """True for what should not delay the rest."""
        return 0 < self._limit < len(payload)

    def send(self, call_id: Optional[CallId], payload: bytes, done: Done) -> Departure:
        """Sends a request or an event; MeshError (`not-sent`) when no stream can be had."""
        stream = self._session.opening.begin([("x-mesh-packet", "request")], self._packets)
        return self._depart(stream, payload, (False, call_id), done)

    def send_answer(self, call_id: CallId, payload: bytes, done: Callable[[str, Optional[MeshError]], None]) -> None:
        """Sends a packet of an answer, leaving a place-holder among the others; `done` gets the token of that too."""
        stream, token = self._session.opening.begin_answer(call_id, self._packets)
        self._depart(stream, payload, (True, call_id), lambda error: done(token, error))

    async def ready(self, call_id: CallId) -> None:
        """Waits until those of a call that is answered have left."""
        for departure in self._of(True, call_id):
            await departure.over.wait()

    def cancel(self, answers: bool, call_id: CallId) -> None:
        """Nobody wants those of a call any more."""
        for departure in self._of(answers, call_id):
            del self._leaving[departure]
            departure.cancel()

    def close(self) -> None:
        """The channel is over, and they with it."""
        leaving, self._leaving = self._leaving, {}
        for departure in leaving:
            departure.cancel()

    def _of(self, answers: bool, call_id: CallId) -> List[Departure]:
        return [departure for departure, call in self._leaving.items() if call == (answers, call_id)]

    def _depart(self, stream: Stream, payload: bytes, call: Tuple[bool, Optional[CallId]], done: Done) -> Departure:
        def over(error: Optional[MeshError]) -> None:
            self._leaving.pop(departure, None)
            done(error)

        def check() -> None:
            refusal = self._session.opening.refusal(stream)
            if refusal is not None:
                stream.reset(ErrorCodes.CANCEL, refusal)

        stream.on_answer = check
        departure = Departure(stream, payload, over)
        self._leaving[departure] = call
        return departure
