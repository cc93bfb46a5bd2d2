"""The nodes of the services this node calls, kept up to date; the last view stands while the registry is away."""

from __future__ import annotations

import asyncio
import logging
from typing import Dict, List, Optional

from .errors import MeshError
from .registry import NodeRecord, Registry, jittered, stop_task

log = logging.getLogger("nestjs_mesh")


class ServiceView:
    """The last known nodes of one service."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.nodes: List[NodeRecord] = []
        #: Why the last look failed; None when it did not.
        self.failure: Optional[str] = None
        self.kick = asyncio.Event()
        self._changed: asyncio.Future[None] = asyncio.get_event_loop().create_future()

    def update(self, nodes: List[NodeRecord]) -> None:
        """A fresh answer of the registry."""
        self.failure = None
        if nodes != self.nodes:
            self.nodes = nodes
            self.notify()

    def notify(self) -> None:
        """Wakes those who wait for a node."""
        self._changed.set_result(None)
        self._changed = asyncio.get_event_loop().create_future()

    async def wait_for_change(self, timeout: Optional[float]) -> None:
        """Returns when the set of nodes changes, or after `timeout` seconds."""
        await asyncio.wait({self._changed}, timeout=timeout)


class Directory:
    """Watches a service from the first call to it on."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._views: Dict[str, ServiceView] = {}
        self._tasks: Dict[str, asyncio.Task[None]] = {}
        registry.on_hint = self._on_hint

    def view(self, service: str) -> ServiceView:
        """The view of a service, begun at the first call."""
        if service not in self._views:
            self._views[service] = ServiceView(service)
            self._tasks[service] = asyncio.get_event_loop().create_task(self._watch(self._views[service]))
        return self._views[service]

    async def close(self) -> None:
        """Ends all watching."""
        for task in self._tasks.values():
            await stop_task(task)

    async def _watch(self, view: ServiceView) -> None:
        while True:
            try:
                view.update(await self._registry.find(view.service))
            except MeshError as error:
                view.failure = error.message
            except Exception as error:  # a fault here must not end the watching for good
                view.failure = str(error)
                log.error("looking for %s failed", view.service, exc_info=error)
            try:
                await asyncio.wait_for(view.kick.wait(), jittered(self._registry.poll_interval))
            except asyncio.TimeoutError:
                pass
            view.kick.clear()

    def notify(self, service: str) -> None:
        """A node of the service has dialled this one."""
        if service in self._views:
            self._views[service].notify()

    def _on_hint(self, service: str) -> None:
        if service in self._views:
            self._views[service].kick.set()
