"""What the registry says of one subject, kept up to date; the last view stands while the registry is away."""

from __future__ import annotations

import asyncio
import logging
from typing import Awaitable, Callable, Generic, List, Optional, TypeVar

from .errors import MeshError
from .registry import jittered

log = logging.getLogger("nestjs_mesh")
T = TypeVar("T")


class View(Generic[T]):
    """What was found last: the nodes of a service, or the services that take events.

    look -- asks the registry
    interval -- seconds between two looks
    """

    def __init__(self, subject: str, look: Callable[[], Awaitable[List[T]]], interval: float) -> None:
        self.subject = subject
        self.found: List[T] = []
        #: Why the last look failed; None when it did not.
        self.failure: Optional[str] = None
        #: Set once a look has worked.
        self.looked = asyncio.Event()
        #: Set to look at the registry now.
        self.kick = asyncio.Event()
        #: Set, for a moment, when there may be something that was not there before.
        self.changed = asyncio.Event()
        self._look = look
        self._interval = interval
        self.task = asyncio.get_event_loop().create_task(self._watch())

    def notify(self) -> None:
        """Wakes those who wait for a change."""
        self.changed.set()
        self.changed.clear()

    async def _watch(self) -> None:
        while True:
            try:
                found, before = await self._look(), self.found
                self.found, self.failure = found, None
                self.looked.set()
                if found != before:
                    self.notify()
            except MeshError as error:
                self.failure = error.message
            except Exception as error:  # a fault here must not end the watching for good
                self.failure = str(error)
                log.error("looking for %s failed", self.subject, exc_info=error)
            await wait_for_event(self.kick, jittered(self._interval))
            self.kick.clear()


async def wait_for_event(event: asyncio.Event, timeout: Optional[float]) -> None:
    """Returns when the event is set, or after `timeout` seconds."""
    waiter = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({waiter}, timeout=timeout)  # not wait_for: before Python 3.12 it can swallow a cancellation
    finally:
        waiter.cancel()
