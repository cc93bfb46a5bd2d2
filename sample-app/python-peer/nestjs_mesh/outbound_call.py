"""A call that this side makes: the answers that came and are not taken yet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable, Optional

from .errors import MeshError
from .inbox import Inbox
from .stream import Stream

if TYPE_CHECKING:
    from .answer_order import AnswerOrder

#: Values of one answer that wait for a slow reader; the call fails beyond.
MAX_BUFFERED_BYTES = 64 * 1024 * 1024


class OutboundCall(Inbox):
    """Filled from the wire, iterated by the caller, who must `close()` it in the end."""

    def __init__(self, on_close: Callable[[], None], stream: Optional[Stream] = None) -> None:
        super().__init__(stream)
        #: Set once a packet of the answer comes on a stream of its own.
        self.order: Optional[AnswerOrder] = None
        self._on_close = on_close
        self._timer: Optional[asyncio.TimerHandle] = None

    def expire_at(self, deadline: Optional[float], message: str) -> None:
        """The call fails at this instant of the event loop's clock unless its answer has begun; None is never."""
        if deadline is not None:
            error = MeshError("DEADLINE_EXCEEDED", message)
            self._timer = asyncio.get_event_loop().call_at(deadline, self.finish, error)

    def put(self, value: Any, size: int) -> None:
        self._forget_deadline()  # it is for an answer that stays out, not for one that has begun
        if self.waiting_bytes and self.waiting_bytes + size > MAX_BUFFERED_BYTES:
            reason = f"over {MAX_BUFFERED_BYTES} bytes of responses wait to be taken"
            self.finish(MeshError("RESOURCE_EXHAUSTED", f"{reason}; take them faster"))
        super().put(value, size)

    def close(self) -> None:
        """The caller is done with it: what the peer has not ended yet is cancelled there."""
        self._forget_deadline()
        self._on_close()

    def _forget_deadline(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
