"""When what is open is late: one timer for all of it, since almost nothing ever is."""

from __future__ import annotations

import asyncio
from typing import Dict, Optional, Protocol

#: Seconds between two looks at all that is open, at least.
GAP = 0.001


class Expiring(Protocol):
    """What has a deadline."""

    def expire(self) -> None:
        """The deadline is over."""


class Deadlines:
    """To note one and to forget it costs next to nothing; all are looked at when the earliest one noted is reached."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: Dict[Expiring, float] = {}
        self._timer: Optional[asyncio.TimerHandle] = None
        self._at = float("inf")

    def add(self, who: Expiring, deadline: float) -> None:
        """`who` expires at this instant of the event loop's clock."""
        self._due[who] = deadline
        if deadline < self._at:
            self._look_at(deadline)

    def remove(self, who: Expiring) -> None:
        """`who` expires no more; one that was not noted is no fault."""
        self._due.pop(who, None)

    def close(self) -> None:
        """Nothing expires any more."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _look_at(self, instant: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at = instant
        self._timer = self._loop.call_at(instant, self._look)

    def _look(self) -> None:
        # A loop calls a little early, by the resolution of its clock.
        now = max(self._at, self._loop.time())
        self._at, self._timer = float("inf"), None
        for _, who in sorted(((at, who) for who, at in self._due.items() if at <= now), key=lambda late: late[0]):
            if self._due.pop(who, None) is not None:
                who.expire()
        if self._due:
            earliest = max(min(self._due.values()), now + GAP)
            if earliest < self._at:
                self._look_at(earliest)
