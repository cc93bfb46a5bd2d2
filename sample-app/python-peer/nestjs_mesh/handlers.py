"""Who answers what: the table of handlers that the decorators of a Peer fill."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from dataclasses import dataclass, field
from typing import Any, Awaitable, Callable, Dict, List, Optional, TypeVar

from .channel import Channel, PeerInfo
from .errors import MASKED_ERROR, MeshError, RpcError
from .headers import DEFAULT_CHANNEL
from .packets import route_of

log = logging.getLogger("nestjs_mesh")

#: Takes `()`, `(data)` or `(data, ctx)`; gives a value, a coroutine or an async generator.
Handler = Callable[..., Any]
ChannelHandler = Callable[[Channel], Awaitable[None]]
H = TypeVar("H", bound=Handler)
C = TypeVar("C", bound=ChannelHandler)


@dataclass(frozen=True)
class Context:
    """What a handler may know beside its data."""

    pattern: str
    peer: PeerInfo
    metadata: Dict[str, str] = field(default_factory=dict)
    #: Instant on the event loop's clock at which the caller gives up; None when it did not say.
    deadline: Optional[float] = None

    def remaining(self) -> Optional[float]:
        """Seconds left for this call; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - asyncio.get_event_loop().time())


class Handlers:
    """Requests and events by route, raw channels by name; filled by decorators."""

    def __init__(self) -> None:
        self._requests: Dict[str, Handler] = {}
        self._events: Dict[str, List[Handler]] = {}
        self._channels: Dict[str, ChannelHandler] = {}

    def handler(self, pattern: Any) -> Callable[[H], H]:
        """Decorator: answers requests of `pattern` with a value, a coroutine's value or an async generator's values.

        A second handler of one pattern is a mistake, so it raises ValueError.
        """

        def add(function: H) -> H:
            route = route_of(pattern)
            if route in self._requests:
                raise ValueError(f"pattern {route} already has a handler: {self._requests[route]!r}")
            self._requests[route] = _with_context(function)
            return function

        return add

    def event(self, pattern: Any) -> Callable[[H], H]:
        """Decorator: takes events of `pattern`; several handlers of one pattern all run."""

        def add(function: H) -> H:
            self._events.setdefault(route_of(pattern), []).append(_with_context(function))
            return function

        return add

    def channel(self, name: str = DEFAULT_CHANNEL) -> Callable[[C], C]:
        """Decorator: serves raw channels of this name; without a name, the default one."""

        def add(function: C) -> C:
            if name in self._channels:
                raise ValueError(f"channel {name!r} already has a handler: {self._channels[name]!r}")
            self._channels[name] = function
            return function

        return add

    def find_handler(self, pattern: Any) -> Optional[Handler]:
        """The handler of a received request's pattern."""
        handler: Optional[Handler] = _find(pattern, self._requests)
        return handler

    def find_event_handler(self, pattern: Any) -> Optional[Handler]:
        """One handler that runs all those of a received event's pattern; one that fails does not touch the others."""
        handlers: Optional[List[Handler]] = _find(pattern, self._events)

        async def run_all(data: Any, ctx: Context) -> None:
            failure: Optional[Exception] = None
            for handler in handlers or ():
                try:
                    result = handler(data, ctx)
                    if hasattr(result, "__await__"):
                        await result
                except Exception as error:
                    log.error("a handler of the event %s failed", ctx.pattern, exc_info=error)
                    failure = error if isinstance(error, (RpcError, MeshError)) else RpcError(MASKED_ERROR)
            if failure is not None:
                raise failure

        return run_all if handlers else None

    def find_channel_handler(self, name: str) -> Optional[ChannelHandler]:
        """The handler of raw channels of this name."""
        return self._channels.get(name)


def _find(pattern: Any, table: Dict[str, Any]) -> Any:
    """A string that holds JSON means the same as the object, as in Nest."""
    route = route_of(pattern)
    if route not in table and isinstance(pattern, str) and pattern.startswith("{"):
        try:
            route = route_of(json.loads(pattern))
        except (ValueError, RecursionError):
            pass
    return table.get(route)


def _with_context(handler: Handler) -> Handler:
    """Gives every handler the form `(data, ctx)`, so that the hot path need not look at signatures."""
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return lambda data, ctx: handler(data)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return handler
    taken = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not taken:
        return lambda data, ctx: handler()
    # A second parameter with a default is the handler's own (`node=node`), unless it is called ctx.
    wants_context = len(taken) > 1 and (taken[1].default is taken[1].empty or taken[1].name == "ctx")
    return handler if wants_context else lambda data, ctx: handler(data)
