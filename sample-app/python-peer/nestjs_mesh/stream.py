"""One HTTP/2 stream as a stream of messages in frames, with flow control both ways."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Optional, Set, Tuple

import h2.connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from .codec import JSON, too_large
from .errors import MeshError, unavailable
from .frames import HEADER_BYTES, PEEK_BYTES, FrameDecoder, FramingError, Oversized, encode_frame

if TYPE_CHECKING:
    from .connection import Connection

log = logging.getLogger("nestjs_mesh")

#: `drain()` waits while a stream has more than this to send, until it has less than half of it.
HIGH_WATER_BYTES = 1024 * 1024
#: A stream whose peer reads nothing is reset at this.
MAX_PENDING_BYTES = 64 * 1024 * 1024
#: One DATA frame carries at most this, so that one big message never blocks the other streams.
CHUNK_BYTES = 256 * 1024
#: Credit is given back in steps of this. All streams together keep back less than the connection's window by it.
ACKNOWLEDGE_BYTES = 16 * 1024

HeaderList = List[Tuple[str, str]]


class Reader:
    """Who takes what arrives on a stream."""

    def on_value(self, value: Any, size: int) -> None:
        """A message, of `size` bytes; `stream.hold()` keeps their flow-control credit back."""

    def on_unreadable(self, head: bytes, error: MeshError) -> None:
        """A message that cannot be read, or is too large; `head` is how it begins."""

    def on_end(self, error: Optional[MeshError]) -> None:
        """The other side has ended its half, inside a message when there is an error."""

    def on_closed(self, error: Optional[MeshError]) -> None:
        """Called once, when both halves are over (None) or the stream broke."""


class Stream:
    """One HTTP/2 stream. Until it has a `reader`, what arrives is ignored."""

    def __init__(self, connection: Connection, stream_id: int = 0, headers: Optional[Dict[str, str]] = None) -> None:
        self.connection = connection
        #: 0 while the other side is only asked to open it: what is written waits.
        self.id = stream_id
        #: What the other side sent: the request's headers, or the answer's once there.
        self.headers = headers or {}
        self.codec = JSON
        self.answered: asyncio.Future[None] = connection.loop.create_future()
        #: Called with the answer's head before any of its body, to set the reader.
        self.on_answer: Callable[[], None] = lambda: None
        self.reader: Optional[Reader] = None
        #: Takes a body that is no frames, in pieces.
        self.on_bytes: Optional[Callable[[bytes], None]] = None
        self.closed = False
        self.remote_ended = False
        self.ending = False
        #: How many bytes of messages were handed to HTTP/2.
        self.sent_bytes = 0
        #: What the other side said after its last message.
        self.trailers: Dict[str, str] = {}
        self._local_ended = False
        self._abandoned = False
        self._own_trailers: HeaderList = []
        self._pending = bytearray()
        self._room = asyncio.Event()
        self._decoder = FrameDecoder(connection.max_frame_bytes)
        self._unacknowledged = 0
        self._held = 0
        self._warned: Set[str] = set()

    # --- sending ---

    @property
    def writable(self) -> bool:
        """True while messages may be sent."""
        return not self.closed and not self.ending

    @property
    def pending_bytes(self) -> int:
        """What waits to be sent."""
        return len(self._pending)

    @property
    def has_output(self) -> bool:
        """True while there is something to send, or the end is."""
        return bool(self._pending) or (self.ending and not self._local_ended)

    def respond(self, status: int, headers: Iterable[Tuple[str, str]] = ()) -> None:
        """The answer's head."""
        try:
            self.connection.send_headers(self.id, [(":status", str(status)), *headers])
        except ProtocolError:
            pass  # reset already: the event that says so comes next

    def encode(self, value: Any, what: str) -> bytes:
        """A message, called `what` in errors, as the payload of a frame. Raises MeshError when it cannot be one."""
        return self.codec.encode(value, self.connection.max_frame_bytes, what)

    def send(self, value: Any, what: str) -> None:
        """Queues a message, called `what` in errors. Raises MeshError when it cannot be sent."""
        self.write(encode_frame(self.encode(value, what)))

    def write(self, data: bytes) -> None:
        """Queues bytes, to leave together with all else that is written in this turn."""
        if self.closed or self.ending:
            raise unavailable(f"the channel to {self.connection.address} is closed", "not-sent")
        behind = len(self._pending)  # one message alone may be larger, where its limit was raised
        self._pending += data
        if behind and behind + len(data) > MAX_PENDING_BYTES:
            reason = f"the peer at {self.connection.address} left over {MAX_PENDING_BYTES} bytes unread"
            log.warning("%s; its channel is closed", reason)
            self.reset(ErrorCodes.ENHANCE_YOUR_CALM, MeshError("RESOURCE_EXHAUSTED", reason))
        else:
            self.connection.schedule_flush()

    async def drain(self, below: int = HIGH_WATER_BYTES) -> None:
        """Waits while more than `below` bytes wait to be sent; returns at once when the stream has broken."""
        while self.pending_bytes > below and not self.closed:
            self._room.clear()
            await self._room.wait()

    def end(self, abandon: bool = False, trailers: Iterable[Tuple[str, str]] = ()) -> None:
        """END_STREAM, after what is still to be sent; `abandon` then resets the half of the other side too."""
        if self.writable:
            self.ending = True
            self._own_trailers = list(trailers)
            self.connection.schedule_flush()
        self._abandoned = self._abandoned or abandon
        if self._local_ended and abandon:
            self.reset(ErrorCodes.NO_ERROR)

    def reset(self, code: int, error: Optional[MeshError] = None) -> None:
        """RST_STREAM now; what was not sent yet is dropped."""
        if not self.closed:
            if self.id:
                self.connection.send_reset(self.id, code)
            self.close(error)

    def answer_within(self, seconds: float) -> None:
        """Resets the stream unless the other side has answered by then."""
        reason = f"{self.connection.address} did not answer /channel within {seconds:g} s"
        timer = self.connection.loop.call_later(
            seconds, lambda: self.reset(ErrorCodes.CANCEL, unavailable(reason, "not-sent"))
        )
        self.answered.add_done_callback(lambda _: timer.cancel())

    def opened_by(self, request: Stream) -> None:
        """The other side has opened the stream that it was asked for: its request is the answer to that."""
        self.id = request.id
        self.connection.streams[self.id] = self
        self.on_response({**request.headers, ":status": "200"})
        self.connection.schedule_flush()

    def pump(self, connection: h2.connection.H2Connection) -> int:
        """Sends the next DATA frame as far as the windows allow; returns its size, 0 when nothing more can be sent."""
        window = connection.local_flow_control_window(self.id)
        room = max(0, min(window, connection.max_outbound_frame_size, CHUNK_BYTES))
        if room < len(self._pending):
            data = bytes(memoryview(self._pending)[:room])
            del self._pending[:room]
        else:
            data, self._pending = bytes(self._pending), bytearray()
        end = self.ending and not self._pending
        if data or end:
            connection.send_data(self.id, data, end_stream=end and not self._own_trailers)
            self.sent_bytes += len(data)
        if end and self._own_trailers:
            connection.send_headers(self.id, self._own_trailers, end_stream=True)
        self._local_ended = end
        if self.pending_bytes <= HIGH_WATER_BYTES // 2:
            self._room.set()
        if end and self.remote_ended:
            self.close(None)
        elif end and self._abandoned:
            self.reset(ErrorCodes.NO_ERROR)
        return len(data)

    # --- receiving ---

    def on_data(self, data: bytes, flow_controlled_size: int) -> None:
        """Bytes of the body."""
        self._unacknowledged += flow_controlled_size
        try:
            if self.on_bytes is not None:
                self.on_bytes(data)
            elif self.reader is not None:
                self._read(self.reader, data)
        except FramingError as error:
            self.warn("framing", f"{error}; the channel is reset")
            self.reset(ErrorCodes.PROTOCOL_ERROR, MeshError("RESOURCE_EXHAUSTED", str(error)))
        self._acknowledge()

    def _read(self, reader: Reader, data: bytes) -> None:
        decode, on_value = self.codec.decode, reader.on_value
        for payload in self._decoder.feed(data):
            if isinstance(payload, Oversized):
                limit = self.connection.max_frame_bytes
                reader.on_unreadable(payload.head, too_large("the message", payload.length, limit, "refused"))
                continue
            try:
                value = decode(payload)
            except ValueError as error:
                failure = MeshError(
                    "INVALID_ARGUMENT", f"a message is not {self.codec.name}: {error}", delivery="refused"
                )
                reader.on_unreadable(bytes(payload[:PEEK_BYTES]), failure)
                continue
            on_value(value, HEADER_BYTES + len(payload))

    def hold(self, size: int) -> None:
        """Keeps back the flow-control credit of `size` received bytes; a negative size gives it back."""
        self._held += size
        if size < 0:
            self._acknowledge()

    def _acknowledge(self) -> None:
        size = self._unacknowledged - max(0, self._held)
        if size >= ACKNOWLEDGE_BYTES or (self.closed and size > 0):
            self._unacknowledged -= size
            self.connection.acknowledge(self.id, size)

    def on_response(self, headers: Dict[str, str]) -> None:
        """The head of the answer."""
        if not self.answered.done():
            self.headers = headers
            self.on_answer()
            if not self.closed:
                self.answered.set_result(None)

    def on_remote_end(self) -> None:
        """The other half is over."""
        self.remote_ended = True
        if self.reader is not None:
            cut = self._decoder.in_frame
            if cut:
                self.warn("cut", "the channel ended inside a message")
            self.reader.on_end(MeshError("DATA_LOSS", "the channel ended inside a message") if cut else None)
        if self._local_ended:
            self.close(None)

    def close(self, error: Optional[MeshError]) -> None:
        """Tells everybody who waits for this stream that it is over."""
        if self.closed:
            return
        self.closed = True
        self.connection.forget(self)
        self._pending.clear()
        self._held = 0
        self._acknowledge()  # the connection's window outlives the stream
        if not self.answered.done():
            self.answered.set_exception(error or unavailable("the peer ended the stream without an answer", "refused"))
            self.answered.exception()  # nobody may be waiting; that is no fault worth a log line
        self._room.set()
        if self.reader is not None:
            self.reader.on_closed(error)

    def warn(self, about: str, message: str) -> None:
        """One warning a stream and fault; a peer that repeats it must not flood the log."""
        level = logging.DEBUG if about in self._warned else logging.WARNING
        self._warned.add(about)
        log.log(level, "%s: %s", self.connection.address, message)
