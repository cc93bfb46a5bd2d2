"""The nodes of a service that is called, kept up to date; the last view stands while the registry is away."""

from __future__ import annotations

import asyncio
import logging
from typing import List, Optional

from .errors import MeshError
from .registry import NodeRecord, Registry, jittered

log = logging.getLogger("nestjs_mesh")


class ServiceView:
    """The last known nodes of one service, from the first call to it on."""

    def __init__(self, service: str, registry: Registry) -> None:
        self.service = service
        self.nodes: List[NodeRecord] = []
        #: Why the last look failed; None when it did not.
        self.failure: Optional[str] = None
        #: Set to look at the registry now.
        self.kick = asyncio.Event()
        #: Set, for a moment, when there may be a node that was not there before.
        self.changed = asyncio.Event()
        self._registry = registry
        self.task = asyncio.get_event_loop().create_task(self._watch())

    def notify(self) -> None:
        """Wakes those who wait for a node."""
        self.changed.set()
        self.changed.clear()

    async def _watch(self) -> None:
        while True:
            try:
                nodes, before = await self._registry.find(self.service), self.nodes
                self.nodes, self.failure = nodes, None
                if nodes != before:
                    self.notify()
            except MeshError as error:
                self.failure = error.message
            except Exception as error:  # a fault here must not end the watching for good
                self.failure = str(error)
                log.error("looking for %s failed", self.service, exc_info=error)
            await wait_for_event(self.kick, jittered(self._registry.poll_interval))
            self.kick.clear()


async def wait_for_event(event: asyncio.Event, timeout: float) -> None:
    """Returns when the event is set, or after `timeout` seconds."""
    waiter = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({waiter}, timeout=timeout)  # not wait_for: before Python 3.12 it can swallow a cancellation
    finally:
        waiter.cancel()
