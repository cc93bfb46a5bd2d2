"""A call that a peer makes: the handler's side of it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import replace
from types import CoroutineType
from typing import Any, Dict, Optional, Protocol, Tuple, Union

from .codec import CallId
from .context import Context
from .deadlines import Deadlines
from .eager import start
from .errors import MASKED_ERROR, MeshError, RpcError
from .handlers import Served

log = logging.getLogger("nestjs_mesh")


class Caller(Protocol):
    """The way back to who has made a call."""

    def reply(self, call: InboundCall, answer: Dict[str, Any]) -> None:
        """Sends a response packet without its `id`; raises MeshError when it cannot be sent."""

    async def ready(self, call: InboundCall) -> None:
        """Waits until the caller has room for more."""

    def done(self, call: InboundCall) -> None:
        """Called once, when no handler is at work any more."""


class InboundCall:
    """Runs a handler and turns what it does into answers; exactly one that ends the call, unless it is cancelled."""

    __slots__ = ("_caller", "_ctx", "_deadlines", "_open", "_result", "_served", "_stopped", "_task", "id", "is_event")

    def __init__(self, caller: Caller, deadlines: Deadlines, call_id: CallId = 0, is_event: bool = False) -> None:
        #: What the caller calls it by, where several share a stream.
        self.id = call_id
        #: True where the caller wants to know that it is done, and no value.
        self.is_event = is_event
        self._caller = caller
        self._deadlines = deadlines
        self._open = True
        self._served: Optional[Served] = None
        self._ctx: Optional[Context] = None
        self._task: Optional[asyncio.Task[None]] = None
        self._stopped = False
        #: What the handler has given, as long as nobody has begun to wait for it.
        self._result: Any = None

    def run(self, served: Served, data: Any, ctx: Context) -> None:
        """Starts the handler, or refuses the call where it allows no more; what is no coroutine is answered at once."""
        if served.max_concurrency is not None and served.running >= served.max_concurrency:
            message = f"{ctx.pattern} has {served.running} calls under way here, as many as its handler allows"
            self.refuse(MeshError("RESOURCE_EXHAUSTED", f"{message} (max_concurrency)", delivery="refused"))
            return
        if served.timeout is not None:
            until = asyncio.get_event_loop().time() + served.timeout
            ctx = replace(ctx, deadline=until if ctx.deadline is None else min(until, ctx.deadline))
        self._served, self._ctx = served, ctx
        served.running += 1
        try:
            result = served.handler(data, ctx)
            if type(result) is CoroutineType or hasattr(result, "__await__") or hasattr(result, "__aiter__"):
                self._result = result
                if ctx.deadline is not None:
                    self._deadlines.add(self, ctx.deadline)
                self._task = start(asyncio.get_event_loop(), self._work())
                if self._stopped:  # by what it has called itself, before it first waited
                    self._task.cancel()
                return
            self._send({"response": result, "isDisposed": True})
        except Exception as error:
            self._throw(error)
        self._end()

    def refuse(self, error: Union[MeshError, RpcError]) -> None:
        """Answers a call that is not run."""
        self._end_with(error.to_wire())
        self._caller.done(self)

    def expire(self) -> None:
        """Its deadline is over."""
        self.fail(MeshError("DEADLINE_EXCEEDED", "the handler did not finish within the call's timeout"))

    def fail(self, error: MeshError) -> None:
        """Ends the call with an error of the transport, and stops the handler."""
        if self._open:
            self._end_with(error.to_wire())
            self._stop()

    def cancel(self) -> None:
        """The caller wants no answer any more, or is gone."""
        if self._open:
            self._open = False
            self._stop()

    def _stop(self) -> None:
        self._stopped = True
        if self._task is not None:
            self._task.cancel()
        unstarted, self._result = self._result, None
        if unstarted is not None:  # a task that is cancelled before its first step does nothing of this itself
            if hasattr(unstarted, "close"):
                unstarted.close()
            self._end()

    async def _work(self) -> None:
        result, self._result = self._result, None
        try:
            if type(result) is CoroutineType or hasattr(result, "__await__"):
                result = await result
            if hasattr(result, "__aiter__"):
                await self._stream(result)
            else:
                self._send({"response": result, "isDisposed": True})
        except asyncio.CancelledError:  # by itself: the caller must not wait for ever
            self._end_with(MeshError("CANCELLED", "the handler was cancelled").to_wire())
        except Exception as error:
            self._throw(error)
        finally:
            self._end()

    def _end(self) -> None:
        self._deadlines.remove(self)
        if self._served is not None:
            self._served.running -= 1
        self._caller.done(self)

    async def _stream(self, values: Any) -> None:
        try:
            async for value in values:
                if not self._open:
                    return
                self._deadlines.remove(self)  # it is for an answer that stays out, not for one that has begun
                self._send({"response": value})
                await self._caller.ready(self)
            self._send({"isDisposed": True})
        finally:
            if hasattr(values, "aclose"):
                await values.aclose()

    def _send(self, answer: Dict[str, Any]) -> None:
        if not self._open:
            return
        try:
            self._caller.reply(self, answer)
            self._open = "isDisposed" not in answer
        except MeshError as error:
            if error.code == "INVALID_ARGUMENT":
                raise TypeError(error.message) from error  # a fault of this side, not of the caller
            self._end_with(error.to_wire())

    def _throw(self, error: Exception) -> None:
        """Ends the call with what its handler threw: masked, unless it is meant for the caller."""
        if not self._open:
            return
        if isinstance(error, RpcError):
            self._end_with(error.to_wire(), error)
        else:
            self._mask(error)

    def _mask(self, error: Optional[BaseException]) -> None:
        error_id, (route, caller) = str(uuid.uuid4()), self._origin()
        log.error("errorId %s: the handler of %s, called by %s, failed", error_id, route, caller, exc_info=error)
        self._end_with(MASKED_ERROR, error_id=error_id)

    def _tell(self, too_large: MeshError) -> None:
        """Ends the call with the fault of its error, which is the caller's business and says what to do."""
        route, caller = self._origin()
        log.error("the error of %s, called by %s, could not be sent: %s", route, caller, too_large.message)
        self._end_with(MeshError(too_large.code, too_large.message).to_wire())

    def _origin(self) -> Tuple[str, str]:
        return (self._ctx.pattern, self._ctx.peer.service) if self._ctx is not None else ("?", "?")

    def _end_with(self, wire: Any, thrown: Optional[BaseException] = None, error_id: Optional[str] = None) -> None:
        if not self._open:
            return
        answer: Dict[str, Any] = {"err": wire, "isDisposed": True, "status": "error"}
        if error_id is not None:
            answer = {"err": wire, "errorId": error_id, "isDisposed": True, "status": "error"}
        try:
            self._caller.reply(self, answer)
        except MeshError as failure:
            if thrown is not None and failure.code == "RESOURCE_EXHAUSTED":
                self._tell(failure)
                return
            if wire is not MASKED_ERROR and failure.code == "INVALID_ARGUMENT":
                self._mask(failure if thrown is None else thrown)  # it cannot be written
                return
            log.debug("an error could not be sent: %s", failure)
        self._open = False
