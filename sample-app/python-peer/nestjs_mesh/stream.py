"""One HTTP/2 stream: flow control both ways, and who takes what arrives on it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Callable, Deque, Dict, Iterable, List, Optional, Protocol, Tuple, Union

import h2.connection
import h2.errors

from .errors import MeshError, unavailable

log = logging.getLogger("nestjs_mesh")

#: `drain()` waits while a stream has more than this to send, until it has less than half of it.
HIGH_WATER_BYTES = 1024 * 1024
#: A stream whose peer reads nothing is reset at this.
MAX_PENDING_BYTES = 64 * 1024 * 1024
#: One DATA frame carries at most this, so that one big message never blocks the other streams.
CHUNK_BYTES = 256 * 1024

HeaderList = List[Tuple[str, str]]


class StreamOwner(Protocol):
    """What a stream needs of its connection."""

    loop: asyncio.AbstractEventLoop
    address: str
    going: bool

    def send_headers(self, stream_id: int, headers: HeaderList) -> None: ...

    def send_reset(self, stream_id: int, code: int) -> None: ...

    def acknowledge(self, stream_id: int, size: int) -> None: ...

    def schedule(self, stream: Stream) -> None: ...

    def flush(self) -> None: ...

    def forget(self, stream: Stream) -> None: ...


class Sink:
    """Who takes what arrives on a stream."""

    def on_data(self, data: bytes) -> None:
        """Bytes of the body; `stream.hold()` keeps their flow-control credit back until they are consumed."""

    def on_end(self) -> None:
        """The other side has ended its half."""

    def on_closed(self, error: Optional[MeshError]) -> None:
        """Called once, when both halves are over (None) or the stream broke."""


class Stream:
    """One HTTP/2 stream."""

    def __init__(self, connection: StreamOwner, stream_id: int, headers: Dict[str, str]) -> None:
        self.connection = connection
        self.id = stream_id
        #: What the other side sent: the request's headers, or the answer's once there.
        self.headers = headers
        self.answered: asyncio.Future[Dict[str, str]] = connection.loop.create_future()
        #: Called with the answer's head before any of its body, to set the sink.
        self.on_answer: Callable[[Stream], None] = lambda stream: None
        self.sink = Sink()
        self.closed = False
        self.remote_ended = False
        self.ending = False
        self.pending_bytes = 0
        self.queued = False
        self._local_ended = False
        self._pending: Deque[Union[bytes, memoryview]] = deque()
        self._waiters: List[asyncio.Future[None]] = []
        self._unacknowledged = 0
        self._held = 0

    def respond(self, status: int, headers: Iterable[Tuple[str, str]] = ()) -> None:
        """The answer's head."""
        self.connection.send_headers(self.id, [(":status", str(status)), *headers])

    def write(self, *pieces: bytes) -> None:
        """Queues bytes, to leave together with all else that is written in this turn. Raises MeshError once closed."""
        if self.closed or self.ending:
            raise unavailable(f"the channel to {self.connection.address} is closed", "not-sent")
        self._pending.extend(pieces)
        self.pending_bytes += sum(map(len, pieces))
        if self.pending_bytes > MAX_PENDING_BYTES:
            reason = f"the peer at {self.connection.address} left over {MAX_PENDING_BYTES} bytes unread"
            log.warning("%s; its channel is closed", reason)
            self.reset(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, MeshError("RESOURCE_EXHAUSTED", reason))
        else:
            self.connection.schedule(self)

    async def drain(self, below: int = HIGH_WATER_BYTES) -> None:
        """Waits while more than `below` bytes wait to be sent; returns at once when the stream has broken."""
        while self.pending_bytes > below and not self.closed:
            waiter = self.connection.loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def end(self) -> None:
        """END_STREAM, after what is still to be sent."""
        if not self.closed and not self.ending:
            self.ending = True
            self.connection.schedule(self)

    def reset(self, code: int, error: Optional[MeshError] = None) -> None:
        """RST_STREAM now; what was not sent yet is dropped."""
        if not self.closed:
            self.connection.send_reset(self.id, code)
            self.close(error)

    def hold(self, size: int) -> None:
        """Keeps back the credit of `size` received bytes."""
        self._held += size

    def release(self, size: int) -> None:
        """Gives back credit that was held."""
        self._held -= size
        self.settle(0)

    def settle(self, received: int) -> None:
        """Acknowledges what arrived, as far as nobody holds it."""
        self._unacknowledged += received
        size = self._unacknowledged - max(0, self._held)
        if size > 0:
            self._unacknowledged -= size
            self.connection.acknowledge(self.id, size)

    def pump(self, h2_connection: h2.connection.H2Connection) -> int:
        """Sends the next DATA frame as far as the windows allow; returns its size, 0 when nothing more can be sent."""
        window = h2_connection.local_flow_control_window(self.id)
        room = min(window, h2_connection.max_outbound_frame_size, CHUNK_BYTES)
        if self._pending and room <= 0:
            return 0
        data = self._take(room)
        end = self.ending and not self._pending
        if data or (end and not self._local_ended):
            h2_connection.send_data(self.id, data, end_stream=end)
            self._local_ended = end
        if self.pending_bytes <= HIGH_WATER_BYTES // 2 or not self._pending:
            self._wake()
        if end and self.remote_ended:
            self.close(None)
        return len(data)

    def _take(self, room: int) -> Union[bytes, memoryview]:
        """Up to `room` pending bytes: many small pieces are joined, a big one is sliced without a copy."""
        parts: List[Union[bytes, memoryview]] = []
        taken = 0
        while self._pending and taken < room:
            piece = self._pending.popleft()
            if len(piece) > room - taken:
                view = memoryview(piece)
                self._pending.appendleft(view[room - taken :])
                piece = view[: room - taken]
            parts.append(piece)
            taken += len(piece)
        self.pending_bytes -= taken
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def on_remote_end(self) -> None:
        """The other half is over."""
        self.remote_ended = True
        self.sink.on_end()
        if self._local_ended:
            self.close(None)

    def close(self, error: Optional[MeshError]) -> None:
        """Tells everybody who waits for this stream that it is over."""
        if self.closed:
            return
        self.closed = True
        self.connection.forget(self)
        self._pending.clear()
        self.pending_bytes = self._held = 0
        self.settle(0)  # the connection's window outlives the stream
        if not self.answered.done():
            self.answered.set_exception(error or unavailable("the peer ended the stream without an answer", "refused"))
            self.answered.exception()  # nobody may be waiting; that is no fault worth a log line
        self._wake()
        self.sink.on_closed(error)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
