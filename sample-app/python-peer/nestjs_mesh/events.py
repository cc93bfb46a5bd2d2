"""The events that arrive: which handlers take them, and what became of them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, List, NamedTuple, Set

from .errors import MeshError, RpcError
from .pattern_trie import PatternTrie

if TYPE_CHECKING:
    from .context import Context
    from .handlers import Handler

log = logging.getLogger("nestjs_mesh")


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

    def add(self, route: str, handler: Handler, function: Any) -> None:
        """Adds a handler; ValueError for a pattern that can match nothing."""
        self._trie.add(route, _Taker(handler, function))
        self.patterns.add(route)

    def find(self, route: str) -> List[Handler]:
        """The handlers that take an event."""
        takers = self._trie.match(route)
        return list({id(taker.function): taker.handler for taker in takers}.values())

    def start(self, handlers: List[Handler], data: Any, ctx: Context) -> None:
        """Runs handlers that nobody waits for."""
        task = asyncio.get_event_loop().create_task(self._run_alone(handlers, data, ctx))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def run(self, handlers: List[Handler], data: Any, ctx: Context) -> None:
        """Runs handlers to the end of all; raises what the first of them has thrown."""
        failures = await self._run_all(handlers, data, ctx)
        for failure in failures[1:]:
            _log(failure, ctx)
        if failures:
            if isinstance(failures[0], RpcError):  # any other is logged where it is masked
                _log(failures[0], ctx)
            raise failures[0]

    async def _run_alone(self, handlers: List[Handler], data: Any, ctx: Context) -> None:
        for failure in await self._run_all(handlers, data, ctx):
            _log(failure, ctx)

    async def _run_all(self, handlers: List[Handler], data: Any, ctx: Context) -> List[Exception]:
        failures: List[Exception] = []  # in the order in which they came
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
