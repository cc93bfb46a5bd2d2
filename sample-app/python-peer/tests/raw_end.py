"""One end of an HTTP/2 connection driven by hand, with many streams, as either side."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, AsyncIterator, Dict, List, Optional, Tuple

import h2.config
import h2.connection
import h2.events

from nestjs_mesh import Peer
from nestjs_mesh.frames import FrameDecoder, encode_frame

from .conftest import eventually

NODE_ID = "11111111-1111-4111-8111-111111111111"
IDENTITY = [("x-mesh-node-id", NODE_ID), ("x-mesh-version", "1")]


class RawStream:
    """What has come on one stream."""

    def __init__(self, headers: Dict[str, str]) -> None:
        self.headers = headers
        self.messages: List[Any] = []
        self.trailers: Dict[str, str] = {}
        self.bytes = 0
        self.ended = False
        self.reset: Optional[int] = None
        self.decoder = FrameDecoder(2**26)


class RawEnd(asyncio.Protocol):
    """Answers every request with 200; the test does the rest."""

    def __init__(self, client: bool) -> None:
        self.client = client
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client, header_encoding="utf-8"))
        self.streams: Dict[int, RawStream] = {}
        self.settled = False
        #: False: what comes is not acknowledged, so the windows shut.
        self.reading = True
        #: The status of the answer to requests; None gives none.
        self.status: Optional[str] = "200"
        #: What else it answers; a peer of part 1 says nothing of itself.
        self.identity = IDENTITY

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.h2.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            stream = self.streams.get(getattr(event, "stream_id", None) or 0)
            if isinstance(event, h2.events.RemoteSettingsChanged):
                self.settled = True
            elif isinstance(event, h2.events.RequestReceived):
                self.streams[event.stream_id] = RawStream(dict(event.headers))  # type: ignore[arg-type]
                if self.status is not None:
                    self.h2.send_headers(event.stream_id, [(":status", self.status), *self.identity])
            elif stream is None:
                pass
            elif isinstance(event, h2.events.ResponseReceived):
                stream.headers = dict(event.headers)  # type: ignore[arg-type]
            elif isinstance(event, h2.events.DataReceived):
                stream.bytes += len(event.data)
                if self.reading:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if stream.headers.get(":status", "200") == "200":
                    for payload in stream.decoder.feed(event.data):
                        assert isinstance(payload, (bytes, bytearray))
                        stream.messages.append(json.loads(payload))
            elif isinstance(event, h2.events.TrailersReceived):
                stream.trailers = dict(event.headers)  # type: ignore[arg-type]
            elif isinstance(event, h2.events.StreamEnded):
                stream.ended = True
            elif isinstance(event, h2.events.StreamReset):
                stream.reset = int(event.error_code)
        self.flush()

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())

    def request(self, headers: Dict[str, str], end: bool = False) -> int:
        """Opens a stream as a node that knows part 2."""
        number = self.h2.get_next_available_stream_id()
        head = {":method": "POST", ":scheme": "http", ":authority": "x", ":path": "/channel", "x-service-name": "raw"}
        head.update({"x-mesh-node-id": NODE_ID, "x-mesh-version": "1", **headers})
        self.streams[number] = RawStream({})
        self.h2.send_headers(number, list(head.items()), end_stream=end)
        self.flush()
        return number

    def send(self, number: int, *values: Any, end: bool = False) -> None:
        """Frames of JSON."""
        self.send_bytes(number, b"".join(encode_frame(json.dumps(value).encode()) for value in values), end)

    def send_bytes(self, number: int, data: bytes, end: bool = False) -> None:
        while len(data) > 16384:
            self.h2.send_data(number, data[:16384])
            data = data[16384:]
        self.h2.send_data(number, data, end_stream=end)
        self.flush()

    def reset(self, number: int) -> None:
        self.h2.reset_stream(number, 8)
        self.flush()

    async def answered(self, number: int) -> RawStream:
        stream = self.streams[number]
        await eventually(lambda: stream.headers)
        return stream

    async def packet(self, number: int, index: int) -> Any:
        """One of the frames on a stream."""
        await eventually(lambda: len(self.streams[number].messages) > index)
        return self.streams[number].messages[index]

    async def stream_with(self, header: str, value: Optional[str] = None) -> Tuple[int, RawStream]:
        """The stream that the other side has opened with this header."""

        def found() -> List[int]:
            return [n for n, s in self.streams.items() if header in s.headers and value in (None, s.headers[header])]

        await eventually(found)
        number = found()[0]
        return number, self.streams[number]


@contextlib.asynccontextmanager
async def dialler(peer: Peer) -> AsyncIterator[RawEnd]:
    """A node `raw` that has dialled a peer and opened its packet channel, stream 1."""
    end = RawEnd(client=True)
    await asyncio.get_event_loop().create_connection(lambda: end, "127.0.0.1", peer.port)
    await eventually(lambda: end.settled)  # the big windows hold from here on
    end.request({})
    await end.answered(1)
    try:
        yield end
    finally:
        end.transport.close()


@contextlib.asynccontextmanager
async def dialled(files: str, caller: Peer) -> AsyncIterator[RawEnd]:
    """A node `raw` that a peer has dialled, its packet channel being stream 1."""
    end = RawEnd(client=False)
    server = await asyncio.get_event_loop().create_server(lambda: end, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]  # type: ignore[attr-defined, unused-ignore]
    announced = Peer("raw", files, advertise=f"127.0.0.1:{port}")
    announced.node_id = announced._core.node_id = NODE_ID
    try:
        async with announced:
            await caller.emit("raw", "hello")
            await end.packet(1, 0)
            yield end
    finally:
        server.close()


def assert_nothing_is_left(*peers: Peer) -> None:
    """No call, stream, token or timer of one."""
    for peer in peers:
        for session in peer._router.sessions:
            packets = [
                stream for stream in session.connection.streams.values() if stream.reader in session.packet_channels
            ]
            assert list(session.connection.streams.values()) == packets
            assert session.opening._asked == {}
            assert session.opening.arrivals._waiting == {} and session.opening.arrivals._timers == {}
            assert not any(channel.busy for channel in session.packet_channels)
            assert not session.busy


async def nothing_is_left(*peers: Peer) -> None:
    """As `assert_nothing_is_left`, once what is under way has come."""

    def holds() -> bool:
        try:
            assert_nothing_is_left(*peers)
        except AssertionError:
            return False
        return True

    with contextlib.suppress(AssertionError):
        await eventually(holds, 8)
    assert_nothing_is_left(*peers)
