"""A raw channel: JSON values both ways over one HTTP/2 stream, with backpressure both ways."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import Any, AsyncIterator, Callable, Deque, Dict, Optional, Tuple

import h2.errors

from .errors import MeshError
from .frames import HEADER_BYTES, FrameDecoder, FramingError, Oversized, frame_header
from .packets import decode_json, encode_json, too_large
from .stream import Sink, Stream

log = logging.getLogger("nestjs_mesh")


@dataclass(frozen=True)
class PeerInfo:
    """The node at the other end. `node_id` is None for a peer that knows only part 1 of the protocol."""

    service: str
    node_id: Optional[str]
    address: str
    #: True when the peer said `x-mesh-version`: only then may it be sent what part 2 adds.
    extended: bool


class Channel:
    """What a channel handler gets and `open_channel` gives. Iterate it to receive; ends when the other side ends."""

    def __init__(
        self,
        stream: Stream,
        peer: PeerInfo,
        name: str,
        metadata: Dict[str, str],
        session_id: Optional[str],
        max_frame_bytes: int,
    ) -> None:
        self.peer = peer
        self.name = name
        #: The further headers of the request that opened the channel.
        self.metadata = metadata
        self.session_id = session_id
        self._stream = stream
        self._max = max_frame_bytes
        self._values: Deque[Tuple[Any, int]] = deque()
        self._waiter: Optional[asyncio.Future[None]] = None
        self._over = False
        self._closed_here = False
        self._error: Optional[MeshError] = None
        self._broken: Optional[MeshError] = None
        self.on_over: Callable[[Channel], None] = lambda channel: None

    async def send(self, value: Any) -> None:
        """Sends one JSON value; returns when the peer has room for more. Raises MeshError once the channel is over."""
        payload = encode_json(value, self._max, "the message")
        if self._closed_here or self._stream.ending:
            raise MeshError("FAILED_PRECONDITION", "send() after end() or close()", delivery="not-sent")
        if self._broken is not None:
            raise self._broken
        self._stream.write(frame_header(len(payload)), payload)
        await self._stream.drain()

    async def end(self) -> None:
        """Half-close: the other side's iteration ends after what was sent. Receiving goes on."""
        self._stream.end()

    async def close(self, timeout: Optional[float] = 30.0) -> None:
        """Ends both directions: what was sent is delivered, for `timeout` seconds at most; what arrives is dropped."""
        if self._closed_here:
            return
        self._closed_here = True
        while self._values:
            self._stream.release(self._values.popleft()[1])
        self.finish(None)
        self._stream.end()
        try:
            await asyncio.wait_for(self._stream.drain(below=0), timeout)
        except asyncio.TimeoutError:
            log.warning("channel %r with %s was closed with messages unsent", self.name, self.peer.service)
        if not self._stream.closed:
            self._stream.connection.flush()  # END_STREAM first, so that what was sent counts as complete
            self._stream.reset(h2.errors.ErrorCodes.NO_ERROR)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        while not self._values:
            if self._over:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            if self._waiter is not None and not self._waiter.done():
                raise RuntimeError("the channel is being read by another task already")
            self._waiter = asyncio.get_event_loop().create_future()
            await self._waiter
        value, size = self._values.popleft()
        self._stream.release(size)
        return value

    # --- for whoever reads the stream ---

    def push(self, value: Any, size: int) -> None:
        """A value that arrived; its `size` bytes are acknowledged when it is taken."""
        if not self._over:
            self._stream.hold(size)
            self._values.append((value, size))
            self._wake()

    def finish(self, error: Optional[MeshError]) -> None:
        """Nothing more will arrive: the end, or the error that the next read raises."""
        if not self._over:
            self._over = True
            self._error = error
            self._wake()

    def closed(self, error: Optional[MeshError]) -> None:
        """The stream is over; after a clean end only sending can still fail."""
        self._broken = self._broken or error
        self.finish(error)

    def abort(self, error: MeshError) -> None:
        """Ends both directions at once because of a fault."""
        self.closed(error)
        self._stream.reset(h2.errors.ErrorCodes.INTERNAL_ERROR, error)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class RawSink(Sink):
    """Turns the bytes of a raw channel's stream into the values of its Channel."""

    def __init__(self, stream: Stream, channel: Channel, max_frame_bytes: int) -> None:
        self._stream = stream
        self._channel = channel
        self._decoder = FrameDecoder(max_frame_bytes)
        self._max = max_frame_bytes

    def on_data(self, data: bytes) -> None:
        try:
            for payload in self._decoder.feed(data):
                if isinstance(payload, Oversized):
                    error = too_large("a message received on the channel", payload.length, self._max, "refused")
                    self._warn(error.message)
                    continue
                try:
                    value = decode_json(payload)
                except ValueError as failure:
                    self._warn(f"a message that is not UTF-8 JSON: {failure}")
                    continue
                self._channel.push(value, HEADER_BYTES + len(payload))
        except FramingError as failure:
            self._warn(str(failure))
            self._channel.abort(MeshError("RESOURCE_EXHAUSTED", str(failure)))

    def on_end(self) -> None:
        if self._decoder.in_frame:
            self._warn("the stream ended inside a message")
            self._channel.finish(MeshError("DATA_LOSS", "the channel ended inside a message"))
        self._channel.finish(None)

    def on_closed(self, error: Optional[MeshError]) -> None:
        self._channel.closed(error)
        self._channel.on_over(self._channel)

    def _warn(self, message: str) -> None:
        peer = self._channel.peer
        log.warning("channel %r with %s at %s: %s", self._channel.name, peer.service, peer.address, message)
