"""Events on their way out: to one node, to every node of a service, or to one node of every service that takes them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Awaitable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .errors import MeshError, RpcError
from .link import Link, T, Target
from .packets import route_of

if TYPE_CHECKING:
    from .outbound_call import OutboundCall
    from .packet_channel import PacketChannel
    from .router import Router

log = logging.getLogger("nestjs_mesh")


class Event(NamedTuple):
    """An event on its way."""

    pattern: Any
    data: Any
    metadata: Dict[str, str]
    deadline: Optional[float]
    #: What is waited for: `received`, `handled`, or None for no more than that the transport has taken it.
    ack: Optional[str]


class Receipt(NamedTuple):
    """A node that has an event: it was handed over for it or, with `ack`, acknowledged by it."""

    service: str
    node_id: str


def check_ack(ack: Any) -> Optional[str]:
    """What can be waited for; ValueError otherwise."""
    if ack not in (None, "received", "handled"):
        raise ValueError(f"ack must be 'received', 'handled' or None; got {ack!r}")
    return ack if isinstance(ack, str) else None


async def deliver(target: Target, event: Event) -> str:
    """To one node, whose id is given back. MeshError when it does not get there, RpcError for what a handler threw."""

    async def reach(link: Link, deadline: Optional[float]) -> Tuple[PacketChannel, Optional[OutboundCall]]:
        packets = await link.packets(deadline)
        if event.ack is None:
            await packets.calls.emit(event.pattern, event.data, event.metadata)
            return packets, None
        return packets, packets.calls.open(event.pattern, event.data, event.deadline, event.metadata, event.ack)

    call: Optional[OutboundCall] = None
    try:
        packets = await _emit_now(target, event) if event.ack is None else None
        if packets is None:
            reached = await target.find(event.deadline, reach)
            packets, call = reached
        if call is not None:
            await _acknowledged(call)
            target.counts.acknowledged += 1
    except (MeshError, RpcError) as error:
        _count_failure(error, target)
        if isinstance(error, MeshError):
            error.at(target.service, None, route_of(event.pattern))
        raise
    target.counts.sent += 1
    return packets.peer.node_id or ""


async def _emit_now(target: Target, event: Event) -> Optional[PacketChannel]:
    """The channel that has taken an event; None where there is none that takes it at once."""
    packets = target.ready()
    if packets is None:
        return None
    try:
        await packets.calls.emit(event.pattern, event.data, event.metadata)
    except MeshError as error:
        if error.code != "UNAVAILABLE":
            raise error.at(target.service, packets.peer.node_id) from None
        return None
    return packets


async def broadcast(target: Target, event: Event) -> List[str]:
    """To every known node of a target. The ids of those that have it; MeshError or RpcError when none has."""

    async def reach(link: Link, deadline: Optional[float]) -> None:
        """There is one."""

    try:
        await target.find(event.deadline, reach)
    except MeshError as error:
        _count_failure(error, target)
        raise
    # A node that cannot be reached is not waited for long: the others have the event already.
    nodes = target.nodes
    return await _gather(event, [target.service] * len(nodes), [deliver(node, event) for node in nodes])


async def publish(router: Router, event: Event) -> List[Receipt]:
    """To one node of every service that announces a matching pattern. None is no error; reaching none of several is."""
    route, counts = route_of(event.pattern), router.event_counts
    try:
        takers = await router.takers_of(route, event.deadline)
    except MeshError:
        counts.lost += 1
        raise
    if not takers:
        counts.unroutable += 1
        log.warning("the event %s was published for nobody: no service has announced a handler", route)

    async def to(taker: Target) -> Receipt:
        return Receipt(taker.service, await deliver(taker, event))

    return await _gather(event, [taker.service for taker in takers], [to(taker) for taker in takers])


async def _gather(event: Event, services: Sequence[str], deliveries: Sequence[Awaitable[T]]) -> List[T]:
    """What went well. The rest is logged, unless nothing went well: then the first failure is raised."""
    outcomes = await asyncio.gather(*deliveries, return_exceptions=True)
    receipts = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    failures = [(service, error) for service, error in zip(services, outcomes) if isinstance(error, BaseException)]
    for service, error in failures:
        if not receipts or not isinstance(error, (MeshError, RpcError)):
            raise error
        log.warning("the event %s did not reach a node of %s: %s", route_of(event.pattern), service, error)
    return receipts


async def _acknowledged(call: OutboundCall) -> None:
    try:
        async for _ in call:
            pass
    finally:
        call.close()


def _count_failure(error: Exception, target: Target) -> None:
    counts = target.counts
    if not isinstance(error, MeshError):
        counts.sent += 1  # a handler threw it: the event has reached it
        return
    counts.sent += error.delivery != "not-sent"
    nobody = error.code == "UNIMPLEMENTED" or (error.delivery == "not-sent" and not target.is_known)
    if nobody:
        counts.unroutable += 1
    else:
        counts.lost += 1
