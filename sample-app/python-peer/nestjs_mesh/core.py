"""What all sessions of a node share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Optional, Set

from .codec import CODEC_HEADER
from .stream import HeaderList

if TYPE_CHECKING:
    from .handlers import Handlers
    from .session import Session
    from .unary import UnaryRequests


@dataclass
class Core:
    """The node as its sessions see it."""

    service: str
    node_id: str
    handlers: Handlers
    max_frame_bytes: int
    #: Packets larger than this travel on a stream of their own; 0 is never.
    large_message_bytes: int = 262_144
    #: The codec that is offered on the channels that this node opens.
    codec: str = "json"
    #: Answers what comes without a channel.
    plain: Optional[UnaryRequests] = None
    #: Called when a node has opened its packet channel to this one, and when a session is over.
    on_packets: Callable[[Session], None] = lambda session: None
    on_closed: Callable[[Session], None] = lambda session: None
    #: True once this node serves without a port, on the channels that it opens.
    portless: bool = False
    #: True when no new channels are accepted, and when no new calls are made.
    draining: bool = False
    closed: bool = False
    #: The handlers of raw channels that are at work.
    tasks: Set[asyncio.Task[None]] = field(default_factory=set)

    def identity(self) -> HeaderList:
        """The headers both sides say."""
        return [("x-mesh-node-id", self.node_id), ("x-mesh-version", "1")]

    def offer(self) -> HeaderList:
        """The header by which who wants a stream offers its codec."""
        return [(CODEC_HEADER, self.codec)] if self.codec != "json" else []
