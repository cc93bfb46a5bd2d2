"""Values that have come on a stream and are not taken yet."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, AsyncIterator, Deque, Optional, Tuple

from .stream import Stream


class Inbox:
    """Iterated by one reader. With a stream, a value's flow-control credit is kept back until the value is taken."""

    def __init__(self, stream: Optional[Stream] = None) -> None:
        #: Bytes of what waits to be taken.
        self.waiting_bytes = 0
        self._source = stream
        self._values: Deque[Tuple[Any, int]] = deque()
        self._over = False
        self._error: Optional[Exception] = None
        self._news = asyncio.Event()
        self._reading = False

    def put(self, value: Any, size: int) -> None:
        """A value of `size` bytes arrived."""
        if not self._over:
            self._values.append((value, size))
            self._account(size)
            self._news.set()

    def finish(self, error: Optional[Exception] = None) -> None:
        """Nothing more will come: the end, or the error that is raised after those that came."""
        if not self._over:
            self._over, self._error = True, error
            self._news.set()

    def clear(self) -> None:
        """Drops what was not taken."""
        self._values.clear()
        self._account(-self.waiting_bytes)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if self._reading:
            raise RuntimeError("another task is reading this already")
        while not self._values:
            if self._over:
                raise StopAsyncIteration if self._error is None else self._error
            self._news.clear()
            self._reading = True
            try:
                await self._news.wait()
            finally:
                self._reading = False
        value, size = self._values.popleft()
        self._account(-size)
        return value

    def _account(self, size: int) -> None:
        self.waiting_bytes += size
        if self._source is not None:
            self._source.hold(size)
