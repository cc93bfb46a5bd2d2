"""What several want at once is done once."""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable, Dict, Generic, Optional, TypeVar

from .errors import unavailable

T = TypeVar("T")


class Shared(Generic[T]):
    """Work under way by its key; it ends when all is done, or with `cancel()`."""

    def __init__(self) -> None:
        self._tasks: Dict[str, asyncio.Future[T]] = {}

    async def get(self, key: str, start: Callable[[], Awaitable[T]], deadline: Optional[float]) -> T:
        """The result of `start`; each who wants it waits until its own deadline (asyncio.TimeoutError)."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.ensure_future(start())

            def done(finished: asyncio.Future[Any]) -> None:
                del self._tasks[key]
                if not finished.cancelled():
                    finished.exception()  # those who waited may all have gone

            task.add_done_callback(done)
        left = None if deadline is None else max(0.0, deadline - asyncio.get_event_loop().time())
        await asyncio.wait({task}, timeout=left)
        if not task.done():
            raise asyncio.TimeoutError
        if task.cancelled():
            raise unavailable("this peer is closing", "not-sent")
        return task.result()

    def cancel(self) -> None:
        """Ends all that is under way."""
        for task in self._tasks.values():
            task.cancel()
