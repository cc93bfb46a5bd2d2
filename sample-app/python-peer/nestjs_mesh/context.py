"""What a handler may know beside its data."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Dict, Optional

from .channel import PeerInfo
from .client import BoundClient
from .errors import MeshError

if TYPE_CHECKING:
    from .session import Session


@dataclass
class Context:
    """Of one call or event. Not to be changed: not frozen only because that would cost each call more to make it."""

    pattern: str
    peer: PeerInfo
    metadata: Dict[str, str] = field(default_factory=dict)
    #: Instant on the event loop's clock at which the caller gives up; None when it did not say.
    deadline: Optional[float] = None
    #: The session that it came in on; None for a call over plain HTTP.
    session: Optional[Session] = field(default=None, repr=False)

    def remaining(self) -> Optional[float]:
        """Seconds left for this call; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - asyncio.get_event_loop().time())

    @property
    def client(self) -> BoundClient:
        """A client bound to the calling node, over the channel that the call came in on: for reverse calls."""
        if self.session is None:
            raise MeshError("FAILED_PRECONDITION", "a call over plain HTTP has no channel to call back on")
        return BoundClient(self.session.target)
