"""A call that this side makes: the answers that came and are not taken yet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable, Optional, Protocol

from .deadlines import Deadlines
from .errors import MeshError
from .inbox import Inbox
from .packets import route_of
from .stream import Stream

if TYPE_CHECKING:
    from .answer_order import AnswerOrder
    from .codec import CallId
    from .outbound_calls import OutboundCalls

#: Values of one answer that wait for a slow reader; the call fails beyond.
MAX_BUFFERED_BYTES = 64 * 1024 * 1024


class Awaited(Protocol):
    """A call on a packet channel. Who made it must `close()` it in the end."""

    #: Set once a packet of the answer comes on a stream of its own.
    order: Optional[AnswerOrder]

    def put(self, value: Any, size: int) -> None:
        """A value of the answer has come."""

    def finish(self, error: Optional[Exception] = None) -> None:
        """The answer is over, or will not come."""


class OneAnswer(Awaited):
    """A call of whose answer only the last value is wanted."""

    __slots__ = ("_calls", "_error", "_id", "_pattern", "_value", "order", "over")

    def __init__(self, calls: OutboundCalls, call_id: CallId, pattern: Any) -> None:
        self.order = None
        #: Done once there is something to `take()`.
        self.over: asyncio.Future[None] = calls.loop.create_future()
        self._calls = calls
        self._id = call_id
        self._pattern = pattern
        self._value: Any = None
        self._error: Optional[Exception] = None

    def put(self, value: Any, size: int) -> None:
        self._calls.deadlines.remove(self)  # it is for an answer that stays out, not for one that has begun
        self._value = value

    def finish(self, error: Optional[Exception] = None) -> None:
        if not self.over.done():
            self._error = error
            self.over.set_result(None)

    def expire(self) -> None:
        """Its deadline is over."""
        self.finish(late(self._calls.peer.service, self._pattern))

    def take(self) -> Any:
        """The last value, None when there was none; raises what the call has failed with."""
        if self._error is not None:
            raise self._error
        return self._value

    def close(self) -> None:
        """The caller is done with it: what the peer has not ended yet is cancelled there."""
        self._calls.deadlines.remove(self)
        self._calls.release(self._id)


class OutboundCall(Inbox, Awaited):
    """Filled from the wire, iterated by the caller, who must `close()` it in the end."""

    def __init__(self, deadlines: Deadlines, on_close: Callable[[], None], stream: Optional[Stream] = None) -> None:
        super().__init__(stream)
        self.order = None
        self._deadlines = deadlines
        self._on_close = on_close
        self._late: Optional[MeshError] = None

    def expire_at(self, deadline: Optional[float], error: MeshError) -> None:
        """The call fails at this instant of the event loop's clock unless its answer has begun; None is never."""
        if deadline is not None:
            self._late = error
            self._deadlines.add(self, deadline)

    def expire(self) -> None:
        """Its deadline is over."""
        self.finish(self._late)

    def put(self, value: Any, size: int) -> None:
        if self._late is not None:
            self._late = None
            self._deadlines.remove(self)  # it is for an answer that stays out, not for one that has begun
        if self.waiting_bytes and self.waiting_bytes + size > MAX_BUFFERED_BYTES:
            reason = f"over {MAX_BUFFERED_BYTES} bytes of responses wait to be taken"
            self.finish(MeshError("RESOURCE_EXHAUSTED", f"{reason}; take them faster"))
        super().put(value, size)

    def close(self) -> None:
        """The caller is done with it: what the peer has not ended yet is cancelled there."""
        self._deadlines.remove(self)
        self._on_close()


def late(service: str, pattern: Any) -> MeshError:
    """The error of a call whose deadline is over."""
    return MeshError("DEADLINE_EXCEEDED", f"{service} did not answer {route_of(pattern)} within the call's timeout")
