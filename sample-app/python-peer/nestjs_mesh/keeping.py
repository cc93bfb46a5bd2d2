"""Keeps a packet channel open to every node of a service, whether or not anybody calls it."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Dict

from .errors import MeshError
from .registry import NodeRecord, stop_task
from .view import View, wait_for_event

if TYPE_CHECKING:
    from .router import Router

log = logging.getLogger("nestjs_mesh")

#: Seconds between two attempts at one node, by full jitter: the first pause, and the longest.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0


class Keeping:
    """The channels to the nodes of one service, until `stop()`."""

    def __init__(self, router: Router, view: View[NodeRecord], own_id: str) -> None:
        self._router = router
        self._view = view
        self._own_id = own_id
        self._nodes: Dict[str, asyncio.Task[None]] = {}
        self._task = asyncio.get_event_loop().create_task(self._watch())

    async def stop(self) -> None:
        """No channel is opened any more; those that are open stay."""
        for task in [self._task, *self._nodes.values()]:
            await stop_task(task)

    async def _watch(self) -> None:
        while True:
            for record in self._view.found:
                if record.id != self._own_id and record.id not in self._nodes:
                    self._nodes[record.id] = asyncio.get_event_loop().create_task(self._keep(record.id))
            await wait_for_event(self._view.changed, None)

    async def _keep(self, node_id: str) -> None:
        """Ends once the node is not listed any more and its channel is over."""
        pause, told = FIRST_PAUSE, ""
        try:
            while True:
                record = next((record for record in self._view.found if record.id == node_id), None)
                if record is None:
                    return
                try:
                    packets = await self._router.link(node_id, record).packets(None)
                    pause, told = FIRST_PAUSE, ""
                    await packets.unusable.wait()
                except MeshError as error:
                    level = logging.DEBUG if error.message == told else logging.WARNING
                    log.log(level, "no channel to %s can be kept yet: %s", self._view.subject, error.message)
                    told = error.message
                await asyncio.sleep(random.random() * pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            del self._nodes[node_id]
