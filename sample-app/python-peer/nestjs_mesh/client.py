"""Calls, events and channels to other services."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Dict, Optional

from .channel import Channel
from .errors import MeshError
from .handlers import DEFAULT_CHANNEL, Context
from .headers import check_headers
from .outbound_call import OutboundCall
from .packets import check_metadata, route_of
from .registry import NodeRecord
from .router import Reach, Router

#: Seconds.
Timeout = Optional[float]
Metadata = Optional[Dict[str, str]]
DEFAULT_TIMEOUT = 30.0


class Client:
    """What a node may ask of others. Every Peer is one; `with_(ctx)` gives one for calls that are part of another."""

    def __init__(self, router: Router, scope: Optional[Context] = None) -> None:
        self._router = router
        self._scope = scope

    def with_(self, ctx: Context) -> Client:
        """For what a handler calls: its calls end by `ctx`'s deadline and carry its metadata on.

        They are cancelled with the handler where they are awaited in its task, as every call is.
        """
        return Client(self._router, ctx)

    async def call(
        self, service: str, pattern: Any, data: Any = None, *, timeout: Timeout = None, metadata: Metadata = None
    ) -> Any:
        """The answer of one node of `service`: its last value, None when it gives none.

        data -- a JSON value, or an async iterable of them: then the handler gets an async iterator
        timeout -- seconds for everything, waiting for the service included; default 30, 0 is none
        Raises RpcError for what the handler threw, MeshError for what went wrong on the way.
        """
        deadline = self._deadline(timeout)
        metadata, find = self._metadata_of(metadata), self._router.find
        call: OutboundCall
        if hasattr(data, "__aiter__"):
            call = await find(service, deadline, self._reach_call(pattern, data, deadline, metadata))
        else:
            packets = await find(service, deadline, self._router.packets_to)
            call = packets.open(pattern, data, deadline, metadata)
        try:
            last: Any = None
            async for value in call:
                last = value
            return last
        except MeshError as error:
            raise error.at(service, None, route_of(pattern)) from None
        finally:
            call.close()

    async def stream(
        self, service: str, pattern: Any, data: Any = None, *, timeout: Timeout = None, metadata: Metadata = None
    ) -> AsyncIterator[Any]:
        """The values of the answer, one by one; closing the iterator cancels the call, a slow reader slows the handler.

        data -- a JSON value, or an async iterable of them: then the handler gets an async iterator
        timeout -- seconds for the whole stream; by default 30 s to find the service, and then no limit
        """
        wait_until, deadline = self._deadline(timeout), self._deadline(timeout, 0)
        reach = self._reach_call(pattern, data, deadline, self._metadata_of(metadata))
        call = await self._router.find(service, wait_until, reach)
        try:
            async for value in call:
                yield value
        except MeshError as error:
            raise error.at(service, None, route_of(pattern)) from None
        finally:
            call.close()

    async def emit(
        self, service: str, pattern: Any, data: Any = None, *, timeout: Timeout = None, metadata: Metadata = None
    ) -> None:
        """Sends an event to one node of `service`; returns when the transport has taken it."""
        metadata = self._metadata_of(metadata)
        packets = await self._router.find(service, self._deadline(timeout), self._router.packets_to)
        await packets.emit(pattern, data, metadata)

    async def open_channel(
        self,
        service: str,
        name: Optional[str] = None,
        *,
        metadata: Metadata = None,
        session_id: Optional[str] = None,
        timeout: Timeout = None,
    ) -> Channel:
        """Opens a raw channel to one node of `service`; `metadata` arrives as headers."""
        headers = check_headers(metadata)

        async def reach(node_id: str, record: Optional[NodeRecord], deadline: Optional[float]) -> Channel:
            session = await self._router.session_to(node_id, record, deadline)
            return await session.open_channel(name or DEFAULT_CHANNEL, headers, session_id)

        return await self._router.find(service, self._deadline(timeout), reach)

    def _reach_call(
        self, pattern: Any, data: Any, deadline: Optional[float], metadata: Dict[str, str]
    ) -> Reach[OutboundCall]:
        """A call stream where the node has them and we can dial it; else packets, if the input is one value."""

        async def reach(node_id: str, record: Optional[NodeRecord], until: Optional[float]) -> OutboundCall:
            packets = await self._router.packets_to(node_id, record, until)
            try:
                if not packets.peer.extended:
                    raise MeshError("UNIMPLEMENTED", "the peer knows no call streams", delivery="refused")
                session = await self._router.session_to(node_id, record, until)
                return await session.open_call(pattern, data, deadline, metadata)
            except MeshError as error:
                if hasattr(data, "__aiter__") or error.code not in ("UNIMPLEMENTED", "UNAVAILABLE"):
                    raise
            return packets.open(pattern, data, deadline, metadata)

        return reach

    def _deadline(self, timeout: Timeout, default: float = DEFAULT_TIMEOUT) -> Optional[float]:
        """The instant on the event loop's clock; None for a timeout of 0, which is none."""
        seconds = default if timeout is None else timeout
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
