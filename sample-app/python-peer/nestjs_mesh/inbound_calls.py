"""The calls and events of the other side on a packet channel: they are run, and answered in its packets."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional

from .codec import CallId
from .context import Context
from .errors import MeshError, NoHandlerError, unavailable
from .events import unhandled
from .frames import encode_frame
from .handlers import Served
from .headers import metadata_of
from .inbound_call import Caller, InboundCall
from .packets import route_of, string_metadata

if TYPE_CHECKING:
    from .packet_channel import PacketChannel
    from .session import Session

log = logging.getLogger("nestjs_mesh")

#: Calls and events of one channel that may be running at once; more are refused.
MAX_RUNNING = 10_000
#: JavaScript's largest exact integer.
MAX_TIMEOUT_MS = 2**53 - 1


class InboundCalls(Caller):
    """Those that are running, by their ids. True while there are some.

    on_idle -- called when one of them is over
    """

    def __init__(self, packets: PacketChannel, session: Session, on_idle: Callable[[], None]) -> None:
        self.stream = packets.stream
        self.peer = packets.peer
        self._warn = packets.warn
        self._side = packets.side
        self._connection = packets.stream.connection
        self._session = session
        self._handlers = session.core.handlers
        self._on_idle = on_idle
        #: What the peer said when the channel opened; goes with each of its calls.
        self._metadata = metadata_of(packets.stream.headers)
        self._running: Dict[Any, InboundCall] = {}

    def __bool__(self) -> bool:
        return bool(self._running)

    def on_request(self, packet: Dict[str, Any]) -> None:
        """A request has come."""
        self._run(packet, self._handlers.find_handler(packet["pattern"]))

    def on_event(self, packet: Dict[str, Any]) -> None:
        """An event has come. One with an id asks for an answer: it was taken or, with `ack: handled`, is done with."""
        handlers, events = self._handlers.receive_event(packet["pattern"], self.peer.service), self._handlers.events
        failure: Optional[MeshError] = None
        if not handlers:
            failure = unhandled(route_of(packet["pattern"]))
        elif "id" in packet and packet.get("ack") == "handled":
            served = Served(lambda data, ctx: events.run(handlers, data, ctx))
            self._run(packet, served, is_event=True)
            return
        else:
            try:
                events.start(handlers, packet.get("data"), self._admit(packet))
            except MeshError as error:
                self._handlers.event_counts.failed += 1
                failure = error
                log.error("the event %s of %s: %s", packet["pattern"], self.peer.service, error.message)
        if "id" in packet:
            err = {} if failure is None else {"err": failure.to_wire(), "status": "error"}
            self._reply(packet["id"], {**err, "isDisposed": True})

    def cancel(self, call_id: CallId) -> None:
        """The caller wants no answer any more."""
        self._side.cancel(True, call_id)
        if call_id in self._running:
            self._running[call_id].cancel()

    def refuse(self, call_id: CallId, error: MeshError) -> None:
        """Answers a request that is no call here."""
        self._reply(call_id, {"err": error.to_wire(), "isDisposed": True, "status": "error"})

    def close(self) -> None:
        """The caller is gone."""
        for call in list(self._running.values()):
            call.cancel()

    def _run(self, packet: Dict[str, Any], served: Optional[Served], is_event: bool = False) -> None:
        call_id = packet["id"]
        if call_id in self._running:
            self._warn("duplicate", f"sent a second request with the id {call_id!r} while the first is open; ignored")
            return

        self._running[call_id] = call = InboundCall(self, self._connection.deadlines, call_id, is_event)
        try:
            ctx = self._admit(packet)
        except MeshError as error:
            self._warn(error.code, error.message)
            call.refuse(error)
            return
        if served is not None:
            call.run(served, packet.get("data"), ctx)
        else:
            call.refuse(NoHandlerError())

    def _admit(self, packet: Dict[str, Any]) -> Context:
        """What its handler may know; MeshError (`refused`) when it cannot be started."""
        if len(self._running) + len(self._handlers.events.tasks) > MAX_RUNNING:
            message = f"{MAX_RUNNING} calls of this channel are running already"
            raise MeshError("RESOURCE_EXHAUSTED", message, delivery="refused")
        route, metadata = route_of(packet["pattern"]), dict(self._metadata)
        if "metadata" in packet:
            metadata.update(string_metadata(packet["metadata"]))
        timeout = packet.get("timeout")
        if timeout is None or not self.peer.extended:
            return Context(route, self.peer, metadata, None, self._session)
        if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or timeout > MAX_TIMEOUT_MS:
            message = f"timeout must be a number of milliseconds up to {MAX_TIMEOUT_MS}; got {str(timeout)[:100]!r}"
            raise MeshError("INVALID_ARGUMENT", message, delivery="refused")
        if timeout <= 0:
            raise MeshError("DEADLINE_EXCEEDED", "the call's timeout had passed when it arrived", delivery="refused")
        deadline = self._connection.loop.time() + timeout / 1000
        return Context(route, self.peer, metadata, deadline, self._session)

    # --- the way back ---

    def reply(self, call: InboundCall, answer: Dict[str, Any]) -> None:
        if call.is_event:
            answer.pop("response", None)
        if not self.peer.extended:
            answer.pop("errorId", None)
        self._reply(call.id, answer)

    async def ready(self, call: InboundCall) -> None:
        await self.stream.drain()
        if self._side:
            await self._side.ready(call.id)

    def done(self, call: InboundCall) -> None:
        del self._running[call.id]
        self._on_idle()

    def _reply(self, call_id: CallId, answer: Dict[str, Any]) -> None:
        # The id first: who cannot read the rest then still knows whose it is.
        payload = self.stream.encode({"id": call_id, **answer}, "the answer")
        if self._side.is_large(payload):
            try:
                self._side.send_answer(call_id, payload, lambda token, error: self._replied(call_id, token, error))
                return
            except MeshError as error:
                log.debug("a large answer goes with the others: %s", error)
        self.stream.write(encode_frame(payload))

    def _replied(self, call_id: CallId, token: str, error: Optional[MeshError]) -> None:
        """A packet of an answer has left on its own stream, or could not: then the caller is told in its place."""
        if error is not None and self.stream.writable:
            wire = unavailable(f"a large answer could not be sent: {error.message}", "unknown").to_wire()
            answer = {"id": call_id, "open": token, "err": wire, "isDisposed": True, "status": "error"}
            self.stream.send(answer, "the answer")
            if call_id in self._running:
                self._running[call_id].cancel()
        self._on_idle()
