"""A session: one connection to one node, and the channels on it."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from typing import Any, Dict, List, Optional

from .call_stream import CallingStream, ServedStream
from .channel import Channel, PeerInfo
from .connection import Connection
from .core import Core
from .dialling import dial
from .errors import MeshError, unavailable
from .headers import encode_component, metadata_of
from .keep_alive import CONNECT_TIMEOUT
from .link import OneNode
from .opening import Opening
from .outbound_call import late
from .packet_channel import PacketChannel
from .packets import route_of
from .registry import NodeRecord
from .serving import Serving
from .shared import Shared
from .stream import Stream
from .view import wait_for_event

log = logging.getLogger("nestjs_mesh")


class Session:
    """A link to its node. `record` is the node that was dialled; None for a connection that was accepted."""

    def __init__(self, core: Core, record: Optional[NodeRecord] = None) -> None:
        self.core = core
        self.record = record
        self.peer: Optional[PeerInfo] = None
        #: True once the registry has named the node.
        self.listed = record is not None
        self.packet_channels: List[PacketChannel] = []
        self.opening = Opening(self)
        self.serving = Serving(self)
        #: When it was last chosen for something, on the clock of the loop.
        self.used_at = asyncio.get_event_loop().time()
        self._packets_under_way: Shared[PacketChannel] = Shared()
        #: Set once there was a packet channel, and when none can come any more.
        self._first_packets = asyncio.Event()
        on_request = None if record is not None else self.serving.on_request
        self.connection = Connection(core.max_frame_bytes, on_request, self._on_going, self._on_closed)

    @staticmethod
    async def dial(core: Core, record: NodeRecord, tls: Optional[ssl.SSLContext]) -> Session:
        """Connects to a node; MeshError (`not-sent`) when that fails."""
        session = Session(core, record)
        await dial(session.connection, record.host, record.port, tls)
        if session.connection.error is not None:  # lost again before anybody could note it
            raise unavailable(session.connection.error.message, "not-sent")
        return session

    @property
    def service(self) -> str:
        """The service of the node at the other end."""
        if self.record is not None:
            return self.record.service
        return self.peer.service if self.peer is not None else "?"

    @property
    def live_packets(self) -> Optional[PacketChannel]:
        """The packet channel that was opened last and is open still."""
        return next((p for p in reversed(self.packet_channels) if not p.stream.closed), None)

    @property
    def usable_packets(self) -> Optional[PacketChannel]:
        """A packet channel on which this side may send requests; a later one takes the place of an earlier one."""
        return next((packets for packets in reversed(self.packet_channels) if packets.usable), None)

    @property
    def is_way_to_portless(self) -> bool:
        """True while the node, which opens no port, takes requests on the channel that it has opened."""
        return any(packets.usable and not packets.peer.listens for packets in self.packet_channels)

    @property
    def busy(self) -> bool:
        """True while calls of either side are open."""
        readers = (stream.reader for stream in self.connection.streams.values())
        return any(
            isinstance(reader, (ServedStream, CallingStream)) or (isinstance(reader, PacketChannel) and reader.busy)
            for reader in readers
        )

    @property
    def channels(self) -> List[Channel]:
        """The raw channels that are open."""
        return [s.reader for s in self.connection.streams.values() if isinstance(s.reader, Channel)]

    # --- the link to its node ---

    @property
    def target(self) -> OneNode:
        """The node at the other end as the target of calls, whoever dialled."""
        return OneNode(self.service, self, self.core.handlers.event_counts)

    async def session(self, deadline: Optional[float]) -> Session:
        """This one: streams can be had on it whoever dialled."""
        return self

    async def packets(self, deadline: Optional[float]) -> PacketChannel:
        """A packet channel that takes new calls; asyncio.TimeoutError at the deadline."""
        packets = self.usable_packets
        if packets is not None:
            return packets
        if self.record is None:
            return await self._opened_by_peer(deadline)

        async def open_packets() -> PacketChannel:
            serves = self.core.portless and not self.core.draining
            headers = [("x-mesh-listen", "false")] if serves else []
            return await self.opening.open(headers, self._dialled_packets)

        return await self._packets_under_way.get("packets", open_packets, deadline)

    async def open_channel(self, name: str, metadata: Dict[str, str], session_id: Optional[str]) -> Channel:
        """Opens a raw channel."""
        headers = [("x-mesh-channel", encode_component(name)), *metadata.items()]
        if session_id is not None:
            headers.append(("x-session-id", session_id))

        def channel(stream: Stream) -> Channel:
            return Channel(stream, self._told_peer(stream), name, metadata_of(stream.headers), session_id, self.target)

        opened = await self.opening.open(headers, channel)
        if self.record is not None and opened.peer.extended and self.usable_packets is None:
            task = self.connection.loop.create_task(self._offer_packets())
            self.core.tasks.add(task)
            task.add_done_callback(self.core.tasks.discard)
        return opened

    async def open_call(
        self, pattern: Any, data: Any, deadline: Optional[float], metadata: Dict[str, str]
    ) -> CallingStream:
        """Opens a call stream for a call whose input is one value or an async iterable."""
        headers = [("x-mesh-pattern", encode_component(route_of(pattern)))]
        if not hasattr(data, "__aiter__"):
            headers.append(("x-mesh-input", "value"))
        if metadata:
            headers.append(("x-mesh-metadata", encode_component(json.dumps(metadata))))
        if deadline is not None:
            headers.append(("x-mesh-timeout", str(max(1, int((deadline - self.connection.loop.time()) * 1000)))))
        call = await self.opening.open(headers, CallingStream, deadline)
        call.expire_at(deadline, late(self.service, pattern))
        try:
            call.start(data)
        except MeshError:
            call.close()
            raise
        return call

    # --- its life ---

    def packet_channel(self, stream: Stream, peer: PeerInfo) -> PacketChannel:
        """A new packet channel on a stream that both sides have agreed to."""
        packets = PacketChannel(stream, peer, self)
        self.packet_channels = [p for p in self.packet_channels if not p.stream.closed] + [packets]
        self._first_packets.set()
        return packets

    async def _opened_by_peer(self, deadline: Optional[float]) -> PacketChannel:
        """What the peer opens behind a raw channel, to be called back on; MeshError when that does not come."""
        if self.peer is not None and self.peer.extended:
            left = CONNECT_TIMEOUT if deadline is None else deadline - self.connection.loop.time()
            await wait_for_event(self._first_packets, min(max(0.0, left), CONNECT_TIMEOUT))
        packets = self.usable_packets
        if packets is None:
            raise unavailable(f"{self.service} has no channel open that takes calls", "not-sent")
        return packets

    async def _offer_packets(self) -> None:
        """A channel on which the node can call back. A node of part 1 would take it for one more of its own."""
        try:
            await self.packets(None)
        except MeshError as error:
            log.debug("no packet channel to %s, so it cannot call back: %s", self.service, error)

    def _dialled_packets(self, stream: Stream) -> PacketChannel:
        return self.packet_channel(stream, self._told_peer(stream))

    def _told_peer(self, stream: Stream) -> PeerInfo:
        """Who the node is, by the answer of a stream."""
        if self.record is None:
            assert self.peer is not None, "a stream can be asked for on a packet channel only"
            return self.peer
        extended = "x-mesh-version" in stream.headers
        self.peer = PeerInfo(self.record.service, self.record.id, self.connection.address, extended)
        return self.peer

    def _on_going(self) -> None:
        for packets in self.packet_channels:
            packets.retire()

    def _on_closed(self) -> None:
        self.opening.arrivals.close()
        self._first_packets.set()
        self.core.on_closed(self)
