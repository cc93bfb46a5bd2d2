"""The packets of one answer in the order in which they were sent, also where one comes on a stream of its own."""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, Optional

from .errors import MeshError
from .side_packets import Arrival

#: Bytes that may wait for a packet before them; the call fails beyond.
MAX_HELD_BYTES = 64 * 1024 * 1024
Packet = Dict[str, Any]


class _Place:
    """A packet, or where one will be."""

    def __init__(self, token: str = "") -> None:
        self.token = token
        self.packet: Optional[Packet] = None
        self.size = 0
        self.arrival: Optional[Arrival] = None

    def stop(self) -> None:
        if self.arrival is not None and self.packet is None:
            self.arrival.cancel()


class AnswerOrder:
    """True while packets wait for one before them. `deliver` takes each in its turn."""

    def __init__(self, deliver: Callable[[Packet, int], None]) -> None:
        self._deliver = deliver
        self._places: Deque[_Place] = deque()
        self._held = 0

    def __bool__(self) -> bool:
        return bool(self._places)

    def expect(self, token: str, fetch: Callable[[Callable[[Packet, int], None]], Arrival]) -> None:
        """The next packet comes by a token: `fetch` gives it to its parameter once it is there."""
        place = _Place(token)
        self._places.append(place)
        place.arrival = fetch(lambda packet, size: self._fill(place, packet, size))

    def add(self, packet: Packet, size: int) -> None:
        """The next packet; MeshError when too much waits."""
        self._places.append(_Place())
        self._fill(self._places[-1], packet, size)
        if self._held > MAX_HELD_BYTES:
            reason = f"over {MAX_HELD_BYTES} bytes wait for a large message before them"
            raise MeshError("RESOURCE_EXHAUSTED", reason, delivery="unknown")

    def waits_for(self, token: str) -> bool:
        """True while a packet is to come by this token."""
        return any(place.token == token and place.packet is None for place in self._places)

    def replace(self, token: str, packet: Packet) -> None:
        """What was to come by a token cannot: `packet` takes its place, the last one where there is none."""
        place = next((place for place in self._places if place.token == token and place.packet is None), None)
        if place is None:
            self.add(packet, 0)
        else:
            place.stop()
            self._fill(place, packet, 0)

    def stop(self) -> None:
        """The answer is over: what has not come is not wanted."""
        while self._places:
            self._places.popleft().stop()

    def _fill(self, place: _Place, packet: Packet, size: int) -> None:
        if place not in self._places:
            return
        place.packet, place.size = packet, size
        self._held += size
        while self._places and self._places[0].packet is not None:
            first = self._places.popleft()
            self._held -= first.size
            self._deliver(first.packet or {}, first.size)
