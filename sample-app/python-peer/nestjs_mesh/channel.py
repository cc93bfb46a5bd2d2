"""A raw channel: JSON values both ways over one HTTP/2 stream, with backpressure both ways."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Optional, Tuple

from h2.errors import ErrorCodes

from .client import BoundClient
from .errors import MeshError, error_of
from .inbox import Inbox
from .link import Target
from .stream import Reader, Stream

log = logging.getLogger("nestjs_mesh")


@dataclass(frozen=True)
class PeerInfo:
    """The node at the other end. `node_id` is None for a peer that knows only part 1 of the protocol."""

    service: str
    node_id: Optional[str]
    address: str
    #: True when the peer said `x-mesh-version`: only then may it be sent what part 2 adds.
    extended: bool
    #: False for a node that opens no port (`x-mesh-listen: false`): this channel is the way to it.
    listens: bool = True


class Channel(Inbox, Reader):
    """What a channel handler gets and `open_channel` gives. Iterate it to receive; ends when the other side ends."""

    def __init__(
        self,
        stream: Stream,
        peer: PeerInfo,
        name: str,
        metadata: Dict[str, str],
        session_id: Optional[str],
        node: Target,
    ) -> None:
        super().__init__(stream)
        self.peer = peer
        self.name = name
        #: The further headers of the request that opened the channel.
        self.metadata = metadata
        self.session_id = session_id
        #: A client bound to the node at the other end, over the same session.
        self.client = BoundClient(node)
        self._stream = stream
        self._closed_here = False
        self._broken: Optional[Exception] = None

    async def send(self, value: Any) -> None:
        """Sends one JSON value; returns when the peer has room for more. Raises MeshError once the channel is over."""
        if self._closed_here or self._stream.ending:
            raise MeshError("FAILED_PRECONDITION", "send() after end() or close()", delivery="not-sent")
        if self._broken is not None:
            raise self._broken
        self._stream.send(value, "the message")
        await self._stream.drain()

    async def end(self) -> None:
        """Half-close: the other side's iteration ends after what was sent. Receiving goes on."""
        self._stream.end()

    async def close(self, timeout: Optional[float] = 30.0) -> None:
        """Ends both directions: what was sent is delivered, for `timeout` seconds at most; what arrives is dropped."""
        if not self._closed_here:
            self._closed_here = True
            self.finish()
            self.clear()
            self._stream.end(abandon=True)
        try:
            await asyncio.wait_for(self._stream.drain(below=0), timeout)
        except asyncio.TimeoutError:
            log.warning("channel %r with %s was closed with messages unsent", self.name, self.peer.service)
            self._stream.reset(ErrorCodes.CANCEL)

    @property
    def closed(self) -> bool:
        """True once nothing can be sent or told any more."""
        return self._closed_here or self._stream.closed

    def fail(self, error: MeshError, trailers: Iterable[Tuple[str, str]]) -> None:
        """Ends both directions because the handler has failed: what was sent is delivered, and `trailers` after it."""
        if not (self.peer.extended and self._stream.writable):
            self.abort(error)  # part 1 knows no trailers; after its own end, nothing but a reset can say so
            return
        self._closed_here = True
        self.finish(error)
        self.clear()
        self._stream.end(abandon=True, trailers=trailers)

    def abort(self, error: MeshError) -> None:
        """Ends both directions at once because of a fault."""
        self.on_closed(error)
        self._stream.reset(ErrorCodes.INTERNAL_ERROR, error)

    # --- Reader ---

    def on_value(self, value: Any, size: int) -> None:
        self.put(value, size)

    def on_unreadable(self, head: bytes, error: MeshError) -> None:
        if error.code == "RESOURCE_EXHAUSTED":
            # A value that is missing from a stream of values is a loss, which the reader must see.
            error.delivery = "unknown"
            self.abort(error)
            return
        self._stream.warn(error.code, f"channel {self.name!r} with {self.peer.service}: {error.message}")

    def on_end(self, error: Optional[MeshError]) -> None:
        trailers = self._stream.trailers
        failure = error or (error_of(trailers) if "mesh-status" in trailers else None)
        self.finish(failure)
        if failure is not None and error is None:
            self._broken = failure  # the handler at the other end has failed: it reads nothing more
            if self._stream.writable:
                self._stream.end(abandon=True)

    def on_closed(self, error: Optional[MeshError]) -> None:
        self._broken = self._broken or error
        self.finish(error)
