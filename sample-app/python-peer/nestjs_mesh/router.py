"""From a service's name to a node and a connection to it: takes turns, shares what is open, waits for what is not."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Dict, List, NamedTuple, Optional, Set, Tuple, TypeVar

from .errors import MeshError, unavailable
from .link import Reach
from .packet_channel import PacketChannel
from .registry import NodeRecord, Registry, check_service, stop_task
from .service_view import ServiceView, wait_for_event
from .session import Core, Session
from .shared import Shared

T = TypeVar("T")


class Router:
    """All sessions of this node, and the choice among the nodes of a service."""

    def __init__(self, core: Core, registry: Registry, tls: Optional[ssl.SSLContext]) -> None:
        self.sessions: Set[Session] = set()
        self._core = core
        self._registry = registry
        self._views: Dict[str, ServiceView] = {}
        self._tls = tls
        self._by_node: Dict[str, List[Session]] = {}
        self._dialling: Shared[Session] = Shared()
        self._failed_at: Dict[str, float] = {}
        self._turn = 0
        core.on_packets = self._on_packets
        core.on_closed = self._on_closed
        registry.on_hint = lambda service: self._views[service].kick.set() if service in self._views else None

    async def close(self) -> None:
        """Ends all looking and connecting, then every connection."""
        for view in self._views.values():
            await stop_task(view.task)
        self._dialling.cancel()
        await asyncio.gather(*(session.connection.close() for session in list(self.sessions)))

    def target(self, service: str) -> ServiceTarget:
        """The nodes of a service; ValueError when that is no name of one."""
        return ServiceTarget(check_service(service), self)

    async def find(self, service: str, deadline: Optional[float], reach: Reach[T]) -> T:
        """Tries the nodes of a service in turn until one is reached or the deadline passes."""
        if service not in self._views:
            self._views[service] = ServiceView(service, self._registry)
        view = self._views[service]
        failures: Dict[str, MeshError] = {}
        pause = 0.1
        while not self._core.closed:
            for node_id, record in self._candidates(view):
                address = f"{record.host}:{record.port}" if record else f"node {node_id}"
                try:
                    return await reach(NodeLink(self, node_id, record), deadline)
                except asyncio.TimeoutError:
                    failures.setdefault(address, unavailable("not connected within the call's timeout", "not-sent"))
                except MeshError as error:
                    if error.code != "UNAVAILABLE":
                        raise error.at(service, node_id) from None
                    failures[address] = error
                    self._failed_at[node_id] = time.monotonic()
            left = None if deadline is None else deadline - asyncio.get_event_loop().time()
            if left is not None and left <= 0:
                break
            await wait_for_event(view.changed, pause if left is None else min(pause, left))
            pause = min(pause * 2, 1.0)
        raise _not_found(view, failures)

    def sessions_with(self, node_id: str) -> List[Session]:
        """The sessions with a node, whoever dialled."""
        return self._by_node.get(node_id, [])

    async def dial(self, record: NodeRecord, deadline: Optional[float]) -> Session:
        """A session that this side dials."""

        async def dial() -> Session:
            session = await Session.dial(self._core, record, self._tls)
            self.sessions.add(session)
            self._by_node.setdefault(record.id, []).append(session)
            return session

        return await self._dialling.get(record.id, dial, deadline)

    def _candidates(self, view: ServiceView) -> List[Tuple[str, Optional[NodeRecord]]]:
        """All nodes, each call beginning with the next one; those that just failed come last."""
        nodes: Dict[str, Optional[NodeRecord]] = {record.id: record for record in view.nodes}
        for node_id, sessions in self._by_node.items():
            # A live channel outranks a missing record.
            if node_id not in nodes and any(s.peer and s.peer.service == view.service for s in sessions):
                nodes[node_id] = None
        nodes.pop(self._core.node_id, None)
        if not nodes:
            return []
        self._turn += 1
        start = self._turn % len(nodes)
        ordered = list(nodes.items())
        ordered = ordered[start:] + ordered[:start]
        if self._failed_at:
            recent = time.monotonic() - 1.0
            ordered.sort(key=lambda item: self._failed_at.get(item[0], 0.0) > recent)
        return ordered

    def _on_packets(self, session: Session) -> None:
        peer = session.peer
        if peer is not None and peer.node_id is not None:
            sessions = self._by_node.setdefault(peer.node_id, [])
            if session not in sessions:
                sessions.append(session)
            if peer.service in self._views:
                self._views[peer.service].notify()

    def _on_closed(self, session: Session) -> None:
        self.sessions.discard(session)
        for node_id in [node_id for node_id, sessions in self._by_node.items() if session in sessions]:
            self._by_node[node_id].remove(session)
            if not self._by_node[node_id]:
                del self._by_node[node_id]
                self._failed_at.pop(node_id, None)


class ServiceTarget(NamedTuple):
    """The nodes of a service, as the target of calls."""

    service: str
    router: Router

    async def find(self, deadline: Optional[float], reach: Reach[T]) -> T:
        return await self.router.find(self.service, deadline, reach)


class NodeLink(NamedTuple):
    """The way to one node of the registry; `record` is None when only a live channel is known."""

    router: Router
    node_id: str
    record: Optional[NodeRecord]

    async def packets(self, deadline: Optional[float]) -> PacketChannel:
        for session in self.router.sessions_with(self.node_id):
            packets = session.usable_packets
            if packets is not None:
                return packets
        return await (await self.session(deadline)).packets(deadline)

    async def session(self, deadline: Optional[float]) -> Session:
        for session in self.router.sessions_with(self.node_id):
            if session.record is not None and not session.connection.going:
                return session
        if self.record is None:
            raise unavailable("its address is not known", "not-sent")
        return await self.router.dial(self.record, deadline)


def _not_found(view: ServiceView, failures: Dict[str, MeshError]) -> MeshError:
    found = {0: "no node", 1: "one node"}.get(len(view.nodes), f"{len(view.nodes)} nodes")
    message = f"no node of {view.service!r} could be reached in time; the registry names {found}"
    message += "".join(f"; {address}: {error.message}" for address, error in failures.items())
    delivery = list(failures.values())[-1].delivery if failures else "not-sent"
    if view.failure is not None:
        message += f" (the registry could not be asked: {view.failure})"
    return MeshError("UNAVAILABLE", message, delivery=delivery, service=view.service)
