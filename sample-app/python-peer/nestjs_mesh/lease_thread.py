"""A lease that is kept by a thread, so that a handler which blocks the event loop is not taken for dead."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any, Coroutine, Optional

from .errors import MeshError
from .registry import HEARTBEAT_INTERVAL, Announcement, NodeRecord, open_registry, stop_task

log = logging.getLogger("nestjs_mesh")

#: Seconds for which the event loop of the peer may be blocked until its record is withdrawn.
MAX_BLOCKED = 60.0


class LeaseThread(Announcement):
    """An announcement with a thread, an event loop and a registry of its own. The thread holds no process."""

    def __init__(self, url: str, record: NodeRecord) -> None:
        super().__init__(open_registry(url), record)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="nestjs_mesh lease", daemon=True)
        #: Counted up by the event loop of the peer as long as it is not blocked.
        self._beats = 0
        self._beating: Optional[asyncio.Task[None]] = None
        self._guarding: Optional[asyncio.Task[None]] = None

    async def start(self) -> None:
        self._thread.start()
        try:
            await self._there(self._begin())
        except BaseException:
            await self.end()
            raise
        self._beating = asyncio.get_event_loop().create_task(self._show_life())

    async def end(self) -> None:
        if not self._thread.is_alive():
            return
        if self._beating is not None:
            await stop_task(self._beating)
        await self._there(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.get_event_loop().run_in_executor(None, self._thread.join)
        self._loop.close()

    async def _there(self, work: Coroutine[Any, Any, None]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _show_life(self) -> None:
        while True:
            self._beats += 1
            await asyncio.sleep(HEARTBEAT_INTERVAL / 2)

    # --- in the thread ---

    async def _begin(self) -> None:
        await self._registry.connect()
        await super().start()
        self._guarding = self._loop.create_task(self._guard())

    async def _finish(self) -> None:
        if self._guarding is not None:
            await stop_task(self._guarding)
            await super().end()
        await self._registry.close()

    async def _guard(self) -> None:
        # Intervals are counted, not seconds: a process that was stopped as a whole was not silent.
        beats, silent, held = self._beats, 0.0, True
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL)
            silent, beats = (0.0 if self._beats != beats else silent + HEARTBEAT_INTERVAL), self._beats
            if held and silent > MAX_BLOCKED:
                log.warning(
                    "the event loop is blocked for more than %g s: its record is withdrawn meanwhile", MAX_BLOCKED
                )
                held = False
                await super().end()
            elif not held and not silent:
                try:
                    await super().start()
                    held = True
                except MeshError as error:
                    log.debug("the record cannot be announced yet: %s", error)
