"""The sessions with nodes outside of the subset: each is closed when nothing has used it for a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Optional

from .registry import stop_task

if TYPE_CHECKING:
    from .router import Router
    from .session import Session

#: Seconds without use, unless something else is said.
IDLE_SESSION = 60.0


class IdleSessions:
    """Looks at the sessions that this node has dialled, from `start()` to `stop()`; with 0 seconds it does nothing."""

    def __init__(self, router: Router, idle: float) -> None:
        self._router = router
        self._idle = idle
        self._task: Optional[asyncio.Task[None]] = None

    def start(self) -> None:
        """Begins to look, once."""
        if self._idle > 0 and self._task is None:
            self._task = asyncio.get_event_loop().create_task(self._look())

    async def stop(self) -> None:
        """No session is closed any more."""
        if self._task is not None:
            await stop_task(self._task)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._idle / 2)
            unused = [session for session in self._router.sessions if self._is_over(session)]
            for session in unused:
                if self._is_over(session):  # it may have been chosen while another one closed
                    await session.connection.close()

    def _is_over(self, session: Session) -> bool:
        rested = session.connection.loop.time() - session.used_at
        in_use = session.record is None or session.busy or bool(session.channels)
        return not in_use and rested >= self._idle and not self._router.is_member(session)
