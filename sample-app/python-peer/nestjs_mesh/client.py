"""Calls, events and channels to other services."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, AsyncIterator, Dict, List, Optional

from .errors import MeshError
from .headers import DEFAULT_CHANNEL, check_headers
from .link import Link, Target
from .outbound_call import OneAnswer, OutboundCall
from .outbound_events import Event, Receipt, broadcast, check_ack, deliver, publish
from .packets import check_metadata, route_of

if TYPE_CHECKING:
    from .channel import Channel
    from .context import Context
    from .router import Router

#: Seconds.
Timeout = Optional[float]
Metadata = Optional[Dict[str, str]]
#: What an event waits for: `received`, `handled`, or None.
Ack = Optional[str]
DEFAULT_TIMEOUT = 30.0


class _Scoped:
    """What a client leaves of the call that its calls are part of."""

    _scope: Optional[Context]

    def _event(self, pattern: Any, data: Any, ack: Ack, timeout: Timeout, metadata: Metadata) -> Event:
        return Event(pattern, data, self._metadata_of(metadata), self._deadline(timeout), check_ack(ack))

    def _deadline(self, timeout: Timeout) -> Optional[float]:
        """The instant on the event loop's clock; None for a timeout of 0, which is none."""
        seconds = DEFAULT_TIMEOUT if timeout is None else timeout
        if seconds < 0:
            raise ValueError(f"timeout must be in seconds, 0 for none; got {timeout}")
        now = asyncio.get_event_loop().time()
        own = now + seconds if seconds else None
        outer = self._scope.deadline if self._scope is not None else None
        if outer is None:
            return own
        if outer <= now:
            message = "the deadline of the call that this one is part of is over"
            raise MeshError("DEADLINE_EXCEEDED", message, delivery="not-sent")
        return outer if own is None else min(own, outer)

    def _metadata_of(self, metadata: Metadata) -> Dict[str, str]:
        own = check_metadata(metadata)
        return own if self._scope is None else {**self._scope.metadata, **own}


class BoundClient(_Scoped):
    """What may be asked of one target: a service, or the node at the other end of a session (`ctx.client`)."""

    def __init__(self, target: Target, scope: Optional[Context] = None) -> None:
        self._target = target
        self._scope = scope

    async def call(self, pattern: Any, data: Any = None, *, timeout: Timeout = None, metadata: Metadata = None) -> Any:
        """The answer of one node: its last value, None when it gives none.

        data -- a JSON value, or an async iterable of them: then the handler gets an async iterator
        timeout -- seconds until the answer or its first value, waiting for the service included; default 30, 0 is none
        Raises RpcError for what the handler threw, MeshError for what went wrong on the way.
        """
        if hasattr(data, "__aiter__"):
            last: Any = None
            async for value in self.stream(pattern, data, timeout=timeout, metadata=metadata):
                last = value
            return last
        call = await self._ask(pattern, data, self._deadline(timeout), self._metadata_of(metadata))
        try:
            await call.over
            return call.take()
        except MeshError as error:
            raise error.at(self._target.service, None, route_of(pattern)) from None
        finally:
            call.close()

    async def stream(
        self, pattern: Any, data: Any = None, *, timeout: Timeout = None, metadata: Metadata = None
    ) -> AsyncIterator[Any]:
        """The values of the answer, one by one; closing the iterator cancels the call, a slow reader slows the handler.

        The parameters are those of `call()`.
        """
        call = await self._open(pattern, data, self._deadline(timeout), self._metadata_of(metadata))
        try:
            async for value in call:
                yield value
        except MeshError as error:
            raise error.at(self._target.service, None, route_of(pattern)) from None
        finally:
            call.close()

    async def emit(
        self,
        pattern: Any,
        data: Any = None,
        *,
        ack: Ack = None,
        timeout: Timeout = None,
        metadata: Metadata = None,
    ) -> None:
        """Sends an event to one node; returns when the transport has taken it.

        ack -- `received` waits until the node has given it to its handlers, `handled` until all have ended well
        Raises MeshError when it does not get there (`UNIMPLEMENTED`: no handler), RpcError for what a handler threw.
        """
        await deliver(self._target, self._event(pattern, data, ack, timeout, metadata))

    async def broadcast(
        self,
        pattern: Any,
        data: Any = None,
        *,
        ack: Ack = None,
        timeout: Timeout = None,
        metadata: Metadata = None,
    ) -> List[str]:
        """Sends an event to every known node; the ids of those that have it, with `ack`: acknowledged it.

        Nodes that it did not reach are logged. Raises the first failure when it reached none.
        """
        return await broadcast(self._target, self._event(pattern, data, ack, timeout, metadata))

    async def open_channel(
        self,
        name: Optional[str] = None,
        *,
        metadata: Metadata = None,
        session_id: Optional[str] = None,
        timeout: Timeout = None,
    ) -> Channel:
        """Opens a raw channel to one node; `metadata` arrives as headers."""
        headers = check_headers(metadata)

        async def reach(link: Link, deadline: Optional[float]) -> Channel:
            session = await link.session(deadline)
            return await session.open_channel(name or DEFAULT_CHANNEL, headers, session_id)

        return await self._target.find(self._deadline(timeout), reach)

    async def _ask(self, pattern: Any, data: Any, until: Optional[float], metadata: Dict[str, str]) -> OneAnswer:
        """Makes a call by packets."""
        packets = self._target.ready()
        if packets is not None:
            try:
                return packets.calls.ask(pattern, data, until, metadata)
            except MeshError as error:
                if error.code != "UNAVAILABLE":
                    raise error.at(self._target.service, packets.peer.node_id) from None

        async def reach(link: Link, deadline: Optional[float]) -> OneAnswer:
            return (await link.packets(deadline)).calls.ask(pattern, data, until, metadata)

        return await self._target.find(until, reach)

    async def _open(self, pattern: Any, data: Any, until: Optional[float], headers: Dict[str, str]) -> OutboundCall:
        """Opens a call on a stream of its own, or by packets to a node that knows no such."""

        async def reach(link: Link, deadline: Optional[float]) -> OutboundCall:
            packets = await link.packets(deadline)
            try:
                if not packets.peer.extended:
                    raise MeshError("UNIMPLEMENTED", "the peer knows no call streams", delivery="refused")
                session = await link.session(deadline)
                return await session.open_call(pattern, data, until, headers)
            except MeshError as error:
                if hasattr(data, "__aiter__") or error.code not in ("UNIMPLEMENTED", "UNAVAILABLE"):
                    raise
            return packets.calls.open(pattern, data, until, headers)

        return await self._target.find(until, reach)


class Client(_Scoped):
    """What a node may ask of others. Every Peer is one; `with_(ctx)` gives one for calls that are part of another."""

    def __init__(self, router: Router, scope: Optional[Context] = None) -> None:
        self._router = router
        self._scope = scope

    def with_(self, ctx: Context) -> Client:
        """For what a handler calls: its calls end by `ctx`'s deadline and carry its metadata on.

        They are cancelled with the handler where it awaits them itself. A task that it spawns is its own and goes on
        until that deadline: a handler that leaves earlier cancels it in a `finally`.
        """
        return Client(self._router, ctx)

    def to(self, service: str) -> BoundClient:
        """A client bound to one service."""
        return BoundClient(self._router.target(service), self._scope)

    async def call(
        self, service: str, pattern: Any, data: Any = None, *, timeout: Timeout = None, metadata: Metadata = None
    ) -> Any:
        """The answer of one node of `service`, as `to(service).call(…)`."""
        return await self.to(service).call(pattern, data, timeout=timeout, metadata=metadata)

    def stream(
        self, service: str, pattern: Any, data: Any = None, *, timeout: Timeout = None, metadata: Metadata = None
    ) -> AsyncIterator[Any]:
        """The values of the answer of one node of `service`, as `to(service).stream(…)`."""
        return self.to(service).stream(pattern, data, timeout=timeout, metadata=metadata)

    async def emit(
        self,
        service: str,
        pattern: Any,
        data: Any = None,
        *,
        ack: Ack = None,
        timeout: Timeout = None,
        metadata: Metadata = None,
    ) -> None:
        """Sends an event to one node of `service`, as `to(service).emit(…)`."""
        await self.to(service).emit(pattern, data, ack=ack, timeout=timeout, metadata=metadata)

    async def broadcast(
        self,
        service: str,
        pattern: Any,
        data: Any = None,
        *,
        ack: Ack = None,
        timeout: Timeout = None,
        metadata: Metadata = None,
    ) -> List[str]:
        """Sends an event to every known node of `service`, as `to(service).broadcast(…)`."""
        return await self.to(service).broadcast(pattern, data, ack=ack, timeout=timeout, metadata=metadata)

    async def publish(
        self, pattern: Any, data: Any = None, *, ack: Ack = None, timeout: Timeout = None, metadata: Metadata = None
    ) -> List[Receipt]:
        """Sends an event to one node of every service that has announced a handler for it; the nodes that have it.

        No such service is no error. Services that it did not reach are logged, or raised when that is all.
        """
        return await publish(self._router, self._event(pattern, data, ack, timeout, metadata))

    async def open_channel(
        self,
        service: str,
        name: Optional[str] = None,
        *,
        metadata: Metadata = None,
        session_id: Optional[str] = None,
        timeout: Timeout = None,
    ) -> Channel:
        """Opens a raw channel to one node of `service`, as `to(service).open_channel(…)`."""
        options: Dict[str, Any] = {"metadata": metadata, "session_id": session_id, "timeout": timeout}
        return await self.to(service).open_channel(name, **options)
