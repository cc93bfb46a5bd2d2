"""The seams between who calls and who knows the way: a target is asked for, a link to one node is given."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Awaitable, Callable, NamedTuple, Optional, Protocol, Sequence, TypeVar

from .errors import unavailable

if TYPE_CHECKING:
    from .events import EventCounts
    from .packet_channel import PacketChannel
    from .session import Session

T = TypeVar("T")


class Link(Protocol):
    """The way to one node. What is awaited raises MeshError, or asyncio.TimeoutError at the deadline."""

    @property
    def usable_packets(self) -> Optional[PacketChannel]:
        """A packet channel that is open and takes new calls."""

    async def packets(self, deadline: Optional[float]) -> PacketChannel:
        """A packet channel that takes new calls: one that is open, whoever opened it, or a new one."""

    async def session(self, deadline: Optional[float]) -> Session:
        """A session on which this side can have streams."""


#: Does what is wanted at a node before the deadline.
Reach = Callable[[Link, Optional[float]], Awaitable[T]]


class Target(Protocol):
    """Where calls go: the nodes of a service, or one node."""

    @property
    def service(self) -> str:
        """The name of the service, for errors."""

    @property
    def counts(self) -> EventCounts:
        """Where the events that go there are counted."""

    @property
    def is_known(self) -> bool:
        """False while there is no node that could be tried."""

    @property
    def nodes(self) -> Sequence[Target]:
        """Each node that is known now."""

    def ready(self) -> Optional[PacketChannel]:
        """The packet channel whose turn it is; None where that can only be said by `find`."""

    async def find(self, deadline: Optional[float], reach: Reach[T]) -> T:
        """What `reach` gives for the first node that can be reached before the deadline; MeshError otherwise."""


class OneNode(NamedTuple):
    """A node that is known, as the target of calls and events."""

    service: str
    link: Link
    counts: EventCounts
    is_known: bool = True

    @property
    def nodes(self) -> Sequence[Target]:
        return [self]

    def ready(self) -> Optional[PacketChannel]:
        packets = self.link.usable_packets
        return None if packets is None else packets.chosen()

    async def find(self, deadline: Optional[float], reach: Reach[T]) -> T:
        try:
            return await reach(self.link, deadline)
        except asyncio.TimeoutError:
            raise unavailable("not connected within the timeout", "not-sent").at(self.service) from None
