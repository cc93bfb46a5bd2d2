"""Who answers what: the table of handlers that the decorators of a Peer fill."""

from __future__ import annotations

import inspect
import json
import logging
from dataclasses import dataclass
from typing import Any, Awaitable, Callable, Dict, List, Optional, Sequence, TypeVar

from .channel import Channel
from .events import EventCounts, EventHandlers
from .headers import DEFAULT_CHANNEL
from .packets import route_of

log = logging.getLogger("nestjs_mesh")

#: Takes `()`, `(data)` or `(data, ctx)`; gives a value, a coroutine or an async generator.
Handler = Callable[..., Any]
ChannelHandler = Callable[[Channel], Awaitable[None]]
H = TypeVar("H", bound=Handler)
C = TypeVar("C", bound=ChannelHandler)


@dataclass
class Served:
    """The handler of one pattern, with what it allows."""

    handler: Handler
    #: Seconds; None is no limit of its own.
    timeout: Optional[float] = None
    max_concurrency: Optional[int] = None
    running: int = 0


class Handlers:
    """Requests and events by route, raw channels by name; filled by decorators."""

    def __init__(self) -> None:
        #: How many events were sent, received, lost, ...
        self.event_counts = EventCounts()
        self.events = EventHandlers(self.event_counts)
        self._requests: Dict[str, Served] = {}
        self._idempotent: List[str] = []
        self._channels: Dict[str, ChannelHandler] = {}

    def handler(
        self,
        pattern: Any,
        *,
        timeout: float = 0,
        idempotent: bool = False,
        max_concurrency: Optional[int] = None,
    ) -> Callable[[H], H]:
        """Decorator: answers requests of `pattern` with a value, a coroutine's value or an async generator's values.

        timeout -- seconds that the handler may take until it answers (a stream: until its first value), 0 for no limit
        idempotent -- True when a call that may have run can be made again without harm; announced to callers
        max_concurrency -- how many calls it takes at a time; more are refused at once with RESOURCE_EXHAUSTED
        Raises ValueError for a second handler of one pattern, and for an option that cannot be.
        """
        route = route_of(pattern)
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 <= timeout < float("inf"):
            raise ValueError(f"timeout of {route} must be in seconds, 0 for none; got {timeout!r}")
        if not isinstance(idempotent, bool):
            raise ValueError(f"idempotent of {route} must be True or False; got {idempotent!r}")
        if max_concurrency is not None and (type(max_concurrency) is not int or max_concurrency < 1):
            raise ValueError(f"max_concurrency of {route} must be a whole number from 1 on; got {max_concurrency!r}")

        def add(function: H) -> H:
            if route in self._requests:
                raise ValueError(f"pattern {route} already has a handler: {self._requests[route].handler!r}")
            self._requests[route] = Served(_with_context(function), timeout or None, max_concurrency)
            if idempotent:
                self._idempotent.append(route)
            return function

        return add

    def event(self, pattern: Any) -> Callable[[H], H]:
        """Decorator: takes events of `pattern`, in which `*` is any one token, and `>` or `**` all further ones.

        All handlers that match run. ValueError for a pattern that can match nothing.
        """

        def add(function: H) -> H:
            self.events.add(route_of(pattern), _with_context(function), function)
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

    def find_handler(self, pattern: Any) -> Optional[Served]:
        """The handler of a received request's pattern."""
        route = route_of(pattern)
        return self._requests.get(route) or self._requests.get(_route_in(route))

    def receive_event(self, pattern: Any, sender: str) -> Sequence[Handler]:
        """The handlers of an event that has come; where none has its pattern, that of requests, as in Nest."""
        route = _route_in(route_of(pattern))
        found = self.events.find(route)
        if route not in self.events.patterns:
            served = self.find_handler(route)
            found = found if served is None else (served.handler, *found)
        self.event_counts.received += 1
        if not found:
            self.event_counts.unhandled += 1
            log.error("no handler takes the event %s, sent by %s", route, sender or "a caller without a name")
        return found

    def announced(self) -> Dict[str, List[str]]:
        """What callers may know of the handlers: the reserved member `mesh` of the record's metadata."""
        said = {"events": sorted(self.events.patterns), "idempotent": sorted(self._idempotent)}
        return {key: value for key, value in said.items() if value}

    def find_channel_handler(self, name: str) -> Optional[ChannelHandler]:
        """The handler of raw channels of this name."""
        return self._channels.get(name)


def _route_in(text: str) -> str:
    """A string that holds the JSON of an object means the same as the object, as in Nest."""
    if not text.startswith("{"):
        return text
    try:
        return route_of(json.loads(text))
    except (ValueError, RecursionError):
        return text


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
