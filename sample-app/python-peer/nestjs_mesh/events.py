"""The events that arrive: which handlers take them, and what became of them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, List, NamedTuple, Sequence, Set, Tuple

from .eager import start
from .errors import MeshError, RpcError
from .pattern_trie import PatternTrie

if TYPE_CHECKING:
    from .context import Context
    from .handlers import Handler

log = logging.getLogger("nestjs_mesh")

#: For how many names it is remembered who takes them, and how long such a name is at most: names come from outside.
REMEMBERED = 1024
MAX_REMEMBERED_LENGTH = 256


@dataclass
class EventCounts:
    """What has become of the events of a node since it was made; each counts once for each node it was meant for."""

    #: Handed to the transport; and of these, those that were acknowledged.
    sent: int = 0
    acknowledged: int = 0
    #: Meant for a node that could not be reached, still queued when its channel broke, or not acknowledged.
    lost: int = 0
    #: Meant for nobody: no node of the service, no handler there, or no service that takes them.
    unroutable: int = 0
    #: Arrived; and of these, those that no handler takes, and those that made a handler fail.
    received: int = 0
    unhandled: int = 0
    failed: int = 0


class _Taker(NamedTuple):
    handler: Handler
    #: What was decorated: it runs once, also where several of its patterns match.
    function: Any


class EventHandlers:
    """Handlers of events by pattern, wildcards included; all that match run, each on its own."""

    def __init__(self, counts: EventCounts) -> None:
        #: The patterns, each once.
        self.patterns: Set[str] = set()
        #: The events whose handlers are at work and that nobody waits for.
        self.tasks: Set[asyncio.Task[None]] = set()
        self._counts = counts
        self._trie: PatternTrie[_Taker] = PatternTrie()
        self._remembered = lru_cache(REMEMBERED)(self._match)

    def add(self, route: str, handler: Handler, function: Any) -> None:
        """Adds a handler; ValueError for a pattern that can match nothing."""
        self._trie.add(route, _Taker(handler, function))
        self.patterns.add(route)
        self._remembered.cache_clear()

    def find(self, route: str) -> Tuple[Handler, ...]:
        """The handlers that take an event."""
        return self._remembered(route) if len(route) <= MAX_REMEMBERED_LENGTH else self._match(route)

    def _match(self, route: str) -> Tuple[Handler, ...]:
        takers = self._trie.match(route)
        return tuple({id(taker.function): taker.handler for taker in takers}.values())

    def start(self, handlers: Sequence[Handler], data: Any, ctx: Context) -> None:
        """Runs handlers that nobody waits for."""
        task = start(asyncio.get_event_loop(), self._run_alone(handlers, data, ctx))
        if not task.done():
            self.tasks.add(task)

    async def run(self, handlers: Sequence[Handler], data: Any, ctx: Context) -> None:
        """Runs handlers to the end of all; raises what the first of them has thrown."""
        failures = await self._run_all(handlers, data, ctx)
        for failure in failures[1:]:
            _log(failure, ctx)
        if failures:
            if isinstance(failures[0], RpcError):  # any other is logged where it is masked
                _log(failures[0], ctx)
            raise failures[0]

    async def _run_alone(self, handlers: Sequence[Handler], data: Any, ctx: Context) -> None:
        try:
            for failure in await self._run_all(handlers, data, ctx):
                _log(failure, ctx)
        finally:  # not a turn later: what comes in between would find too many running
            self.tasks.discard(asyncio.current_task())

    async def _run_all(self, handlers: Sequence[Handler], data: Any, ctx: Context) -> List[Exception]:
        failures: List[Exception] = []  # in the order in which they came
        if len(handlers) == 1:
            await _run(handlers[0], data, ctx, failures)
        else:
            await asyncio.gather(*(_run(handler, data, ctx, failures) for handler in handlers))
        self._counts.failed += bool(failures)
        return failures


async def _run(handler: Handler, data: Any, ctx: Context, failures: List[Exception]) -> None:
    try:
        result = handler(data, ctx)
        if hasattr(result, "__await__"):
            result = await result
        if hasattr(result, "__aiter__"):
            async for _ in result:
                pass
    except Exception as error:
        failures.append(error)


def _log(failure: Exception, ctx: Context) -> None:
    log.error("a handler of the event %s, sent by %s, failed", ctx.pattern, ctx.peer.service, exc_info=failure)


def unhandled(route: str) -> MeshError:
    """The answer to an event that asks for an acknowledgement and that no handler takes."""
    return MeshError("UNIMPLEMENTED", f"no handler takes the event {route}", delivery="refused")
