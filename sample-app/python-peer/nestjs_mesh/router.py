"""From a service's name to a node and a connection to it: takes turns, shares what is open, waits for what is not."""

from __future__ import annotations

import asyncio
import math
import ssl
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple, TypeVar

from .core import Core
from .errors import MeshError, unavailable
from .events import EventCounts
from .idle_sessions import IDLE_SESSION, IdleSessions
from .keeping import Keeping
from .link import OneNode, Reach, Target
from .packet_channel import PacketChannel
from .pattern_trie import matches
from .registry import NodeRecord, Registry, check_service, events_of, stop_task
from .session import Session
from .shared import Shared
from .subset import SUBSET_SIZE, Ranking, first
from .view import View, wait_for_event

T = TypeVar("T")

#: Seconds for which a node that could not be reached is given nothing while there are others.
FAILURE_COUNTS = 1.0


class Router:
    """All sessions of this node, and the choice among the nodes of a service."""

    def __init__(
        self,
        core: Core,
        registry: Registry,
        tls: Optional[ssl.SSLContext],
        subset_size: float = SUBSET_SIZE,
        idle_session: float = IDLE_SESSION,
    ) -> None:
        self.sessions: Set[Session] = set()
        self._core = core
        self._registry = registry
        self._views: Dict[str, View[NodeRecord]] = {}
        #: The services that take events, once somebody publishes; one that was seen is not forgotten.
        self._subscribers: Optional[View[str]] = None
        self._taking: Set[str] = set()
        self._tls = tls
        self._by_node: Dict[str, List[Session]] = {}
        self._dialling: Shared[Session] = Shared()
        self._failed_at: Dict[str, float] = {}
        self._keeping: List[Keeping] = []
        self._turn = 0
        self._targets: Dict[str, ServiceTarget] = {}
        self._rings: Dict[str, Ring] = {}
        self._rankings: Dict[str, Ranking] = {}
        self._subset_size = subset_size
        self._kept: Set[str] = set()
        self._idle = IdleSessions(self, idle_session)
        core.on_packets = self._on_packets
        core.on_closed = self._on_closed
        registry.on_hint = self._on_hint
        registry.on_subscriber_hint = self._on_subscriber_hint

    @property
    def event_counts(self) -> EventCounts:
        """What became of the events of this node."""
        return self._core.handlers.event_counts

    async def close(self) -> None:
        """Ends all looking and connecting, then every connection."""
        await self.keep_nothing()
        await self._idle.stop()
        for task in [view.task for view in self._views.values()]:
            await stop_task(task)
        if self._subscribers is not None:
            await stop_task(self._subscribers.task)
        self._dialling.cancel()
        await asyncio.gather(*(session.connection.close() for session in list(self.sessions)))

    def target(self, service: str) -> ServiceTarget:
        """The nodes of a service; ValueError when that is no name of one."""
        target = self._targets.get(service)
        if target is None:
            target = self._targets[service] = ServiceTarget(check_service(service), self)
        return target

    def ready(self, service: str) -> Optional[PacketChannel]:
        """The packet channel of the next node, where there is one to each that calls are spread over; else None."""
        ring = self._rings.get(service)
        if ring is None or ring.found is not self._views[service].found or ring.until <= time.monotonic():
            ring = self._ring_of(self._view(service))
            if ring is None:
                self._rings.pop(service, None)
                return None
            self._rings[service] = ring
        self._turn += 1
        packets = ring.channels[self._turn % len(ring.channels)]
        if packets.usable and not self._core.closed:
            return packets.chosen()
        del self._rings[service]
        return None

    def links_to(self, service: str) -> List[NodeLink]:
        """The ways to all nodes of a service that take something new."""
        links = [NodeLink(self, *candidate) for candidate in self._all(self._view(service))]
        return [link for link in links if link.record is not None or link.usable_packets is not None]

    async def takers_of(self, route: str, deadline: Optional[float]) -> List[ServiceTarget]:
        """The services with a node that announces a handler of the event; MeshError when the registry does not say."""
        if self._subscribers is None:
            self._subscribers = View("subscribers", self._registry.subscribers, self._registry.poll_interval)
        await self._first_look(self._subscribers, deadline)
        self._taking.update(self._subscribers.found)
        views = [self._view(service) for service in sorted(self._taking)]
        for view in views:
            await self._first_look(view, deadline)

        def accepts(record: NodeRecord) -> bool:
            return record.id != self._core.node_id and any(matches(pattern, route) for pattern in events_of(record))

        takers = [view.subject for view in views if any(map(accepts, view.found))]
        return [ServiceTarget(service, self, accepts) for service in takers]

    async def find(
        self,
        service: str,
        deadline: Optional[float],
        reach: Reach[T],
        accepts: Optional[Callable[[NodeRecord], bool]] = None,
    ) -> T:
        """Tries the nodes of a service in turn, those that will do, until one is reached or the deadline passes."""
        view = self._view(service)
        failures: Dict[str, MeshError] = {}
        pause = 0.1
        while not self._core.closed:
            for node_id, record in self._candidates(view):
                if accepts is not None and (record is None or not accepts(record)):
                    continue
                address = f"{record.host}:{record.port}" if record else f"node {node_id}"
                try:
                    return await reach(self.link(node_id, record), deadline)
                except asyncio.TimeoutError:
                    failures.setdefault(address, unavailable("not connected within the call's timeout", "not-sent"))
                except MeshError as error:
                    if error.code != "UNAVAILABLE":
                        raise error.at(service, node_id) from None
                    failures[address] = error
                    self._failed_at[node_id] = time.monotonic()
                    self._rings.pop(service, None)
            left = None if deadline is None else deadline - asyncio.get_event_loop().time()
            if left is not None and left <= 0:
                break
            await wait_for_event(view.changed, pause if left is None else min(pause, left))
            pause = min(pause * 2, 1.0)
        raise _not_found(view, failures)

    def keep(self, service: str) -> None:
        """Opens a channel to each node of a service, and opens it anew when it is lost."""
        self._kept.add(service)
        self._rings.pop(service, None)
        self._keeping.append(Keeping(self, self._view(service), self._core.node_id))

    async def keep_nothing(self) -> None:
        """The channels that are kept are not opened anew."""
        for keeping in self._keeping:
            await keeping.stop()
        self._keeping.clear()

    def link(self, node_id: str, record: Optional[NodeRecord]) -> NodeLink:
        """The way to one node."""
        return NodeLink(self, node_id, record)

    def sessions_with(self, node_id: str) -> List[Session]:
        """The sessions with a node, whoever dialled."""
        return self._by_node.get(node_id, [])

    async def dial(self, record: NodeRecord, deadline: Optional[float]) -> Session:
        """A session that this side dials."""

        async def dial() -> Session:
            session = await Session.dial(self._core, record, self._tls)
            self.sessions.add(session)
            self._by_node.setdefault(record.id, []).append(session)
            self._idle.start()
            return session

        return await self._dialling.get(record.id, dial, deadline)

    def is_known(self, service: str) -> bool:
        """True when there is a node of the service to try."""
        return any(True for _ in self._candidates(self._view(service)))

    def is_member(self, session: Session) -> bool:
        """True while calls are given to the node of a session without anybody naming it."""
        view = self._views.get(session.service)
        return view is None or session.record is None or session.record.id in self._members(view)

    def _view(self, service: str) -> View[NodeRecord]:
        if service not in self._views:
            registry = self._registry
            self._views[service] = View(service, lambda: registry.find(service), registry.poll_interval)
        return self._views[service]

    async def _first_look(self, view: View[Any], deadline: Optional[float]) -> None:
        left = None if deadline is None else max(0.0, deadline - asyncio.get_event_loop().time())
        if not view.looked.is_set():
            await wait_for_event(view.looked, left)
        if not view.looked.is_set():
            reason = f" ({view.failure})" if view.failure is not None else ""
            raise unavailable(f"the registry has not said yet who takes events{reason}", "not-sent")

    def _on_hint(self, service: str) -> None:
        if service in self._views:
            self._views[service].kick.set()

    def _on_subscriber_hint(self) -> None:
        if self._subscribers is not None:
            self._subscribers.kick.set()

    def _candidates(self, view: View[NodeRecord]) -> Iterator[Tuple[str, Optional[NodeRecord]]]:
        """The members of the subset, each call beginning with the next one; then all others, in case that is nobody."""
        ranked = self._ranked(view)
        members = self._members(view) + self._unlisted(view)
        self._turn += 1
        start = self._turn % len(members) if members else 0
        for node_id in members[start:] + members[:start]:
            yield node_id, ranked.get(node_id)
        tried = set(members)
        for node_id, record in ranked.items():
            if node_id not in tried:
                yield node_id, record

    def _all(self, view: View[NodeRecord]) -> List[Tuple[str, Optional[NodeRecord]]]:
        ranked = self._ranked(view)
        return [*ranked.items(), *((node_id, None) for node_id in self._unlisted(view))]

    def _ranked(self, view: View[NodeRecord]) -> Dict[str, NodeRecord]:
        if view.subject not in self._rankings:
            self._rankings[view.subject] = Ranking(self._core.node_id)
        return self._rankings[view.subject].of(view.found)

    def _members(self, view: View[NodeRecord]) -> List[str]:
        """The listed nodes that calls are spread over; for one that has just failed the next in rank steps in."""
        recent = time.monotonic() - FAILURE_COUNTS
        size = math.inf if view.subject in self._kept else self._subset_size
        return first(self._ranked(view), size, lambda node_id: self._failed_at.get(node_id, 0.0) <= recent)

    def _unlisted(self, view: View[NodeRecord]) -> List[str]:
        """A live channel outranks a missing record, and it is all that there is of a node without a port."""
        ranked = self._ranked(view)
        found: Dict[str, None] = {}  # keeps the order
        for node_id, sessions in self._by_node.items():
            for session in sessions:
                if node_id in ranked:
                    session.listed = True
                elif session.service == view.subject and (session.listed or session.is_way_to_portless):
                    found[node_id] = None
        found.pop(self._core.node_id, None)
        return list(found)

    def _ring_of(self, view: View[NodeRecord]) -> Optional[Ring]:
        channels: List[PacketChannel] = []
        for node_id in self._members(view) + self._unlisted(view):
            packets = self.link(node_id, None).usable_packets
            if packets is None:
                return None
            channels.append(packets)
        now = time.monotonic()
        ends = [at + FAILURE_COUNTS for at in self._failed_at.values() if at + FAILURE_COUNTS > now]
        return Ring(view.found, channels, min(ends, default=math.inf)) if channels else None

    def _on_packets(self, session: Session) -> None:
        self._rings.clear()
        peer = session.peer
        if peer is not None and peer.node_id is not None:
            sessions = self._by_node.setdefault(peer.node_id, [])
            if session not in sessions:
                sessions.append(session)
            if peer.service in self._views:
                self._views[peer.service].notify()

    def _on_closed(self, session: Session) -> None:
        self._rings.clear()
        self.sessions.discard(session)
        for node_id in [node_id for node_id, sessions in self._by_node.items() if session in sessions]:
            self._by_node[node_id].remove(session)
            if not self._by_node[node_id]:
                del self._by_node[node_id]
                self._failed_at.pop(node_id, None)


class Ring(NamedTuple):
    """The packet channels to all nodes of a service that calls are spread over."""

    #: What the registry said then.
    found: List[NodeRecord]
    channels: List[PacketChannel]
    #: When a node that has failed is given calls again, on the monotonic clock.
    until: float


class ServiceTarget(NamedTuple):
    """The nodes of a service, as the target of calls."""

    service: str
    router: Router
    #: Holds for the nodes that will do; None is all.
    accepts: Optional[Callable[[NodeRecord], bool]] = None

    @property
    def counts(self) -> EventCounts:
        return self.router.event_counts

    @property
    def is_known(self) -> bool:
        return self.router.is_known(self.service)

    @property
    def nodes(self) -> Sequence[Target]:
        return [OneNode(self.service, link, self.counts) for link in self.router.links_to(self.service)]

    def ready(self) -> Optional[PacketChannel]:
        return self.router.ready(self.service) if self.accepts is None else None

    async def find(self, deadline: Optional[float], reach: Reach[T]) -> T:
        return await self.router.find(self.service, deadline, reach, self.accepts)


class NodeLink(NamedTuple):
    """The way to one node of the registry; `record` is None when only a live channel is known."""

    router: Router
    node_id: str
    record: Optional[NodeRecord]

    @property
    def usable_packets(self) -> Optional[PacketChannel]:
        channels = (session.usable_packets for session in self.router.sessions_with(self.node_id))
        return next((packets for packets in channels if packets is not None), None)

    async def packets(self, deadline: Optional[float]) -> PacketChannel:
        packets = self.usable_packets
        return packets.chosen() if packets is not None else await (await self.session(deadline)).packets(deadline)

    async def session(self, deadline: Optional[float]) -> Session:
        for session in self.router.sessions_with(self.node_id):
            if session.record is not None and not session.connection.going:
                session.used_at = session.connection.loop.time()
                return session
        try:
            if self.record is None:
                raise unavailable("its address is not known", "not-sent")
            return await self.router.dial(self.record, deadline)
        except MeshError:
            for session in self.router.sessions_with(self.node_id):
                if session.usable_packets is not None:  # it has dialled: it can be asked to open streams
                    return session
            raise


def _not_found(view: View[NodeRecord], failures: Dict[str, MeshError]) -> MeshError:
    found = {0: "no node", 1: "one node"}.get(len(view.found), f"{len(view.found)} nodes")
    message = f"no node of {view.subject!r} could be reached in time; the registry names {found}"
    message += "".join(f"; {address}: {error.message}" for address, error in failures.items())
    delivery = list(failures.values())[-1].delivery if failures else "not-sent"
    if view.failure is not None:
        message += f" (the registry could not be asked: {view.failure})"
    return MeshError("UNAVAILABLE", message, delivery=delivery, service=view.subject)
