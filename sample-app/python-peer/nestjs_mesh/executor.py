"""Runs the handlers for what a peer asks on a packet channel, and turns their results into packets."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Awaitable, Callable, Dict, Optional, Set

from .channel import PeerInfo
from .errors import MASKED_ERROR, NO_HANDLER, MeshError, RpcError
from .handlers import Context, Handlers
from .packets import CallId, route_of, string_metadata

log = logging.getLogger("nestjs_mesh")

#: Calls and events of one channel that may be running at once; more are refused.
MAX_RUNNING = 10_000
#: JavaScript's largest exact integer.
MAX_TIMEOUT_MS = 2**53 - 1


class _Run:
    """One call that a handler is working on."""

    def __init__(self, call_id: CallId) -> None:
        self.id = call_id
        self.answered = False
        self.task: Optional[asyncio.Task[None]] = None
        self.timer: Optional[asyncio.TimerHandle] = None


class Executor:
    """The callee's half of a packet channel. `send` encodes and queues a packet, `drain` waits for room."""

    def __init__(
        self,
        handlers: Handlers,
        peer: PeerInfo,
        send: Callable[[Dict[str, Any], str], None],
        drain: Callable[[], Awaitable[None]],
        on_idle: Callable[[], None],
    ) -> None:
        self._handlers = handlers
        self._peer = peer
        self._send = send
        self._drain = drain
        self._on_idle = on_idle
        self._loop = asyncio.get_event_loop()
        self._runs: Dict[CallId, _Run] = {}
        self._events: Set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """True while a handler is at work."""
        return bool(self._runs or self._events)

    def request(self, packet: Dict[str, Any]) -> None:
        """Starts the handler of a request; a handler that is no coroutine is answered at once."""
        call_id = packet["id"]
        if call_id in self._runs:
            log.warning("%s sent a second request with the id %r while the first is open; ignored", self._who, call_id)
            return
        handler = self._handlers.request(packet["pattern"])
        if handler is None:
            self._answer({"id": call_id, "err": NO_HANDLER, "isDisposed": True, "status": "error"})
            return
        run = _Run(call_id)
        try:
            result = handler(packet.get("data"), self._context(packet))
        except Exception as error:
            self._fail(run, error)
            return
        if not hasattr(result, "__await__") and not hasattr(result, "__aiter__"):
            self._try_finish(run, result)
            return
        timeout = packet.get("timeout")
        if timeout is not None and self._peer.extended:
            run.timer = self._loop.call_later(timeout / 1000, self._expire, run)
        self._runs[call_id] = run
        run.task = self._loop.create_task(self._work(run, result))

    def event(self, packet: Dict[str, Any]) -> None:
        """Runs every handler of an event; one that fails does not touch the others."""
        handlers = self._handlers.event(packet["pattern"])
        if not handlers:
            log.error("no event handler for %s, sent by %s", route_of(packet["pattern"]), self._who)
        task = self._loop.create_task(self._handle_event(packet, handlers))
        self._events.add(task)
        task.add_done_callback(self._event_done)

    def admit(self, packet: Dict[str, Any]) -> None:
        """Raises MeshError (`refused`) when this request or event cannot be started."""
        if len(self._runs) + len(self._events) >= MAX_RUNNING:
            message = f"{MAX_RUNNING} calls of this channel are running already"
            raise MeshError("RESOURCE_EXHAUSTED", message, delivery="refused")
        timeout = packet.get("timeout")
        if timeout is None or not self._peer.extended:
            return
        if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or timeout > MAX_TIMEOUT_MS:
            message = f"timeout must be a number of milliseconds up to {MAX_TIMEOUT_MS}; got {str(timeout)[:100]!r}"
            raise MeshError("INVALID_ARGUMENT", message, delivery="refused")
        if timeout <= 0:
            raise MeshError("DEADLINE_EXCEEDED", "the call's timeout had passed when it arrived", delivery="refused")

    def refuse(self, call_id: CallId, error: MeshError) -> None:
        """Answers a request that is not run."""
        self._answer({"id": call_id, "err": error.to_wire(), "isDisposed": True})

    def cancel(self, call_id: CallId) -> None:
        """The caller wants no answer any more."""
        run = self._runs.get(call_id)
        if run is not None:
            run.answered = True
            if run.task is not None:
                run.task.cancel()

    def stop(self) -> None:
        """The channel is over: cancels all that is running."""
        for call_id in list(self._runs):
            self.cancel(call_id)
        for task in self._events:
            task.cancel()

    async def _work(self, run: _Run, result: Any) -> None:
        try:
            value = await result if hasattr(result, "__await__") else result
            if hasattr(value, "__aiter__"):
                await self._stream(run, value)
            else:
                self._finish(run, value)
        except asyncio.CancelledError:
            if not run.answered:  # the handler cancelled itself; its caller must not wait for ever
                self._fail(run, MeshError("CANCELLED", "the handler was cancelled"))
        except Exception as error:
            self._fail(run, error)
        finally:
            self._runs.pop(run.id, None)
            if run.timer is not None:
                run.timer.cancel()
            self._on_idle()

    async def _stream(self, run: _Run, values: Any) -> None:
        try:
            async for value in values:
                if run.answered:
                    return
                self._send_result({"id": run.id, "response": value})
                await self._drain()
            if not run.answered:
                self._answer({"id": run.id, "isDisposed": True})
        finally:
            if hasattr(values, "aclose"):
                await values.aclose()

    def _finish(self, run: _Run, value: Any) -> None:
        if not run.answered:
            self._send_result({"id": run.id, "response": value, "isDisposed": True})

    def _try_finish(self, run: _Run, value: Any) -> None:
        try:
            self._finish(run, value)
        except Exception as error:
            self._fail(run, error)

    def _send_result(self, packet: Dict[str, Any]) -> None:
        try:
            self._send(packet, "the handler's result")
        except MeshError as error:
            if error.code == "INVALID_ARGUMENT":
                raise TypeError(error.message) from error  # a fault of this side, not of the caller
            raise

    def _expire(self, run: _Run) -> None:
        self._fail(run, MeshError("DEADLINE_EXCEEDED", "the handler did not finish within the call's timeout"))
        self.cancel(run.id)

    def _fail(self, run: _Run, error: Exception) -> None:
        if run.answered:
            return
        run.answered = True
        if isinstance(error, (RpcError, MeshError)):
            payload = error.to_wire()
        else:
            log.error("a handler called by %s failed", self._who, exc_info=error)
            payload = MASKED_ERROR
        if not self._answer({"id": run.id, "err": payload, "isDisposed": True}):
            self._answer({"id": run.id, "err": MASKED_ERROR, "isDisposed": True})

    def _answer(self, packet: Dict[str, Any]) -> bool:
        """False when the packet cannot be sent: it is no JSON, too large, or the channel is over."""
        try:
            self._send(packet, "the answer")
        except MeshError as error:
            log.debug("answer to %s not sent: %s", self._who, error)
            return False
        return True

    async def _handle_event(self, packet: Dict[str, Any], handlers: Any) -> None:
        failure: Optional[Exception] = None
        for handler in handlers:
            try:
                result = handler(packet.get("data"), self._context(packet))
                if hasattr(result, "__await__"):
                    await result
            except Exception as error:
                log.error("a handler of the event %s failed", route_of(packet["pattern"]), exc_info=error)
                failure = error
        if "id" not in packet:
            return
        if failure is not None:
            self._fail_event(packet["id"], failure)
        elif not handlers:
            self._answer({"id": packet["id"], "err": NO_HANDLER, "isDisposed": True, "status": "error"})
        else:
            self._answer({"id": packet["id"], "isDisposed": True})

    def _fail_event(self, call_id: CallId, error: Exception) -> None:
        payload = error.to_wire() if isinstance(error, (RpcError, MeshError)) else MASKED_ERROR
        self._answer({"id": call_id, "err": payload, "isDisposed": True})

    def _event_done(self, task: asyncio.Task[None]) -> None:
        self._events.discard(task)
        self._on_idle()

    def _context(self, packet: Dict[str, Any]) -> Context:
        timeout = packet.get("timeout")
        extended = self._peer.extended and timeout is not None
        deadline = self._loop.time() + timeout / 1000 if extended and timeout is not None else None
        metadata = string_metadata(packet.get("metadata"))
        return Context(route_of(packet["pattern"]), self._peer, metadata, deadline)

    @property
    def _who(self) -> str:
        return f"{self._peer.service} at {self._peer.address}"
