"""One HTTP/2 connection on asyncio: h2 does the protocol, this moves its bytes and keeps it alive.

All that becomes ready in one turn of the event loop leaves in one write.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Callable, Dict, Optional

import h2.errors
import h2.events
import h2.exceptions

from .deadlines import Deadlines
from .errors import MeshError, unavailable
from .frames import DEFAULT_MAX_FRAME_BYTES
from .http2 import MAX_HEADER_BYTES, Http2, name_of, text_headers
from .keep_alive import keep_alive
from .stream import HIGH_WATER_BYTES, HeaderList, Stream

log = logging.getLogger("nestjs_mesh")

#: What one read takes at most. Memory that was never written to is only lent by the system.
READ_BYTES = 256 * 1024


class Connection(asyncio.BufferedProtocol):
    """One HTTP/2 connection, either side.

    on_request -- takes a stream that the other side opened; None on the side that dialled
    on_going -- called when the other side takes no new streams
    on_closed -- called once, when the connection is over
    """

    def __init__(
        self,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
        on_request: Optional[Callable[[Stream], None]] = None,
        on_going: Callable[[], None] = lambda: None,
        on_closed: Callable[[], None] = lambda: None,
    ) -> None:
        self.loop = asyncio.get_event_loop()
        self.max_frame_bytes = max_frame_bytes
        self.address = "?"
        self.secure = False
        #: Set once the other side's SETTINGS have come.
        self.ready: asyncio.Future[None] = self.loop.create_future()
        self.lost: asyncio.Future[None] = self.loop.create_future()
        self.error: Optional[MeshError] = None
        #: True when no new streams may be opened: GOAWAY was received or the connection is closing.
        self.going = False
        self.streams: Dict[int, Stream] = {}
        #: When the calls on it are late.
        self.deadlines = Deadlines(self.loop)
        #: When something has come, on the clock of `loop`.
        self.last_received = 0.0
        self._on_request = on_request
        self._on_going = on_going
        self._on_closed = on_closed
        self._client = on_request is None
        self._h2 = Http2(self._client)
        self._transport: Optional[asyncio.Transport] = None
        self._incoming = memoryview(bytearray(READ_BYTES))
        self._flush_scheduled = False
        self._paused = False
        self._keep_alive: Optional[asyncio.Task[None]] = None

    # --- asyncio.BufferedProtocol ---

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        name = transport.get_extra_info("peername")
        self.address = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)
        tls = transport.get_extra_info("ssl_object")
        self.secure = tls is not None
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            self.fail(unavailable(f"{self.address} did not agree to HTTP/2 in its TLS handshake (ALPN h2)", "not-sent"))
            return
        self._h2.begin()
        self._keep_alive = self.loop.create_task(keep_alive(self))
        self.schedule_flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._incoming

    def buffer_updated(self, nbytes: int) -> None:
        self.last_received = self.loop.time()
        try:
            events = self._h2.receive_data(bytes(self._incoming[:nbytes]))
        except h2.exceptions.ProtocolError as error:
            self._send()
            self.fail(unavailable(f"{self.address} does not speak HTTP/2 as expected: {error}", "unknown"))
            return
        scheduled, self._flush_scheduled = self._flush_scheduled, True
        try:
            for event in events:
                if not self.lost.done():
                    self._on_event(event)
        finally:
            self._flush_scheduled = scheduled
            self.flush()  # what was answered at once leaves at once

    def connection_lost(self, exc: Optional[Exception]) -> None:
        if self._transport is not None:
            self._transport.close()  # TLS transports before Python 3.11 do not note by themselves that they are closed
        reason = f"the connection to {self.address} was lost" + (f": {exc}" if exc else "")
        self._over(self.error or unavailable(reason, "unknown"))

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.schedule_flush()

    # --- for its streams ---

    def open_stream(self, headers: HeaderList) -> Stream:
        """Opens a stream (the dialling side only). Raises MeshError when the connection takes no new ones."""
        if self.going:
            raise unavailable(f"the connection to {self.address} is closing", "not-sent")
        if self._h2.open_outbound_streams >= self._h2.remote_settings.max_concurrent_streams:
            raise MeshError("RESOURCE_EXHAUSTED", f"{self.address} allows no more streams", delivery="not-sent")
        size = sum(len(name) + len(value) + 32 for name, value in headers)  # as RFC 9113, 6.5.2 counts
        limit = self._h2.remote_settings.max_header_list_size or MAX_HEADER_BYTES
        if size > min(limit, MAX_HEADER_BYTES):
            message = f"headers of {size} bytes are over the {limit} that {self.address} takes; send less metadata"
            raise MeshError("RESOURCE_EXHAUSTED", message, delivery="not-sent")
        stream = Stream(self, self._h2.get_next_available_stream_id())
        self.streams[stream.id] = stream
        self.send_headers(stream.id, headers)
        return stream

    def send_headers(self, stream_id: int, headers: HeaderList) -> None:
        """HEADERS now."""
        self._h2.send_headers(stream_id, [(key.encode(), value.encode()) for key, value in headers])
        self.schedule_flush()

    def send_reset(self, stream_id: int, code: int) -> None:
        """RST_STREAM, unless the stream or connection is over anyway."""
        try:
            self._h2.reset_stream(stream_id, code)
        except h2.exceptions.ProtocolError:
            return
        self.schedule_flush()

    def ping(self) -> None:
        """PING, which the other side answers at once."""
        self._h2.ping(b"nestmesh")
        self.schedule_flush()

    def acknowledge(self, stream_id: int, size: int) -> None:
        """WINDOW_UPDATE when it is worth one."""
        if not self.lost.done():
            self._h2.acknowledge_received_data(size, stream_id)
            self.schedule_flush()

    def forget(self, stream: Stream) -> None:
        """The stream is over."""
        self.streams.pop(stream.id, None)

    # --- closing ---

    async def close(self, timeout: float = 1.0) -> None:
        """GOAWAY, then the transport; the other side has `timeout` seconds to take the last bytes."""
        self.going = True
        if not self.lost.done():
            self.flush()
            try:
                self._h2.close_connection()
            except h2.exceptions.ProtocolError:
                pass
            self._send()
            self.error = self.error or unavailable("this side closed the connection", "unknown")
            if self._transport is not None:
                self._transport.close()
            await asyncio.wait({self.lost}, timeout=timeout)
            if not self.lost.done() and self._transport is not None:
                self._transport.abort()
                await asyncio.wait({self.lost}, timeout=timeout)

    def fail(self, error: MeshError) -> None:
        """Ends the connection for a reason; every stream learns of it in this turn."""
        if self._transport is not None:
            self._transport.close()
        self._over(error)

    def abort(self, error: MeshError) -> None:
        """As `fail`, without waiting for the last bytes to leave: nobody takes them."""
        if self._transport is not None:
            self._transport.abort()
        self.fail(error)

    def _over(self, error: MeshError) -> None:
        self.error = self.error or error
        self.going = True
        if self.lost.done():
            return
        if self._keep_alive is not None:
            self._keep_alive.cancel()
        self.lost.set_result(None)
        if not self.ready.done():
            self.ready.set_exception(self.error)
            self.ready.exception()
        for stream in list(self.streams.values()):
            stream.close(self.error)
        self._on_closed()
        self.deadlines.close()

    # --- inside ---

    def _on_event(self, event: h2.events.Event) -> None:
        stream = self.streams.get(getattr(event, "stream_id", None) or 0)
        if isinstance(event, h2.events.DataReceived):
            if stream is not None:
                stream.on_data(event.data, event.flow_controlled_length)
            else:
                self.acknowledge(event.stream_id, event.flow_controlled_length)
        elif isinstance(event, h2.events.RequestReceived) and self._on_request is not None:
            stream = Stream(self, event.stream_id, text_headers(event.headers))
            self.streams[stream.id] = stream
            self._on_request(stream)
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            if not self.ready.done():
                self.ready.set_result(None)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._on_goaway(event)
        elif stream is None:
            return
        elif isinstance(event, h2.events.ResponseReceived):
            stream.on_response(text_headers(event.headers))
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = text_headers(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            stream.on_remote_end()
        elif isinstance(event, h2.events.StreamReset):
            refused = event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
            reason = f"{self.address} reset the stream ({name_of(event.error_code)})"
            stream.close(unavailable(reason, "refused" if refused else "unknown"))

    def _on_goaway(self, event: h2.events.ConnectionTerminated) -> None:
        self.going = True
        if event.error_code:
            self.fail(unavailable(f"{self.address} ended the connection ({name_of(event.error_code)})", "unknown"))
            return
        last = event.last_stream_id or 0
        for stream in [s for s in self.streams.values() if self._client and s.id > last]:
            stream.close(unavailable(f"{self.address} is shutting down and did not start this stream", "refused"))
        self._on_going()

    def schedule_flush(self) -> None:
        """Lets the streams send at the end of this turn."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self.loop.call_soon(self._flush_at_end)

    def _flush_at_end(self) -> None:
        self._flush_scheduled = False
        self.flush()

    def flush(self) -> None:
        """Writes all that the windows allow now; the streams take turns."""
        sent = -1
        while sent and not self._paused and not self.lost.done():
            sent = 0
            for stream in [stream for stream in self.streams.values() if stream.has_output]:
                try:
                    sent += stream.pump(self._h2)
                except h2.exceptions.ProtocolError as error:
                    stream.close(unavailable(f"the stream to {self.address} is over: {error}", "unknown"))
            self._send()
        self._send()

    def _send(self) -> None:
        data = self._h2.data_to_send()
        if data and self._transport is not None and not self.lost.done():
            self._transport.write(data)
