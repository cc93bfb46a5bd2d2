"""One call of ours on a packet channel: the responses that came and are not taken yet."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Callable, Deque, Optional, Tuple

from .errors import MeshError
from .packets import CallId

#: Values of one response stream that wait for a slow consumer; the call fails beyond.
MAX_BUFFERED_BYTES = 64 * 1024 * 1024

#: What `next()` gives after the last value.
END = object()


class OpenCall:
    """Filled by the channel, emptied by the caller, who must `close()` it in the end."""

    def __init__(self, call_id: CallId, on_close: Callable[[OpenCall], None]) -> None:
        self.id = call_id
        self.timer: Optional[asyncio.TimerHandle] = None
        self._on_close = on_close
        self._values: Deque[Tuple[Any, int]] = deque()
        self._buffered = 0
        self._over = False
        self._error: Optional[Exception] = None
        self._waiter: Optional[asyncio.Future[None]] = None

    def add(self, value: Any, size: int) -> None:
        """A value arrived."""
        if self._over:
            return
        if self._values and self._buffered + size > MAX_BUFFERED_BYTES:
            message = (
                f"over {MAX_BUFFERED_BYTES} bytes of responses wait to be taken; take them faster, or use a channel"
            )
            self.finish(MeshError("RESOURCE_EXHAUSTED", message))
            return
        self._values.append((value, size))
        self._buffered += size
        self._wake()

    def finish(self, error: Optional[Exception] = None) -> None:
        """No more values: the end, or the error that is raised after those that came."""
        if not self._over:
            self._over = True
            self._error = error
            self._wake()

    async def next(self) -> Any:
        """The next value, or END."""
        while not self._values:
            if self._error is not None:
                raise self._error
            if self._over:
                return END
            self._waiter = asyncio.get_event_loop().create_future()
            await self._waiter
        value, size = self._values.popleft()
        self._buffered -= size
        return value

    def close(self) -> None:
        """The caller is done with it: what the peer has not ended yet is cancelled there."""
        if self.timer is not None:
            self.timer.cancel()
        self._on_close(self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
