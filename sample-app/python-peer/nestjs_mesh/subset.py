"""The nodes of a service in the order in which this node wants them: the first few are those that it calls.

Rendezvous hashing of both ids (Thaler and Ravishankar, 1998): each client has others, and a node that joins or leaves
changes one of them at most.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Callable, Dict, List, Sequence, Union

from .registry import NodeRecord

#: Of how many nodes a subset is, unless something else is said.
SUBSET_SIZE = 20


def check_subset_size(size: Union[int, float]) -> float:
    """How many nodes a subset may have, infinity for 0; ValueError for what is no number of nodes."""
    if size in (0, math.inf) and not isinstance(size, bool):
        return math.inf
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError(f"subset_size must be a whole number of nodes, or 0 (or math.inf) for all; got {size!r}")
    return size


class Ranking:
    """The nodes of one service by the wish of one client; what was found is ranked once."""

    def __init__(self, own_id: str) -> None:
        self._key = own_id.encode()[:64]
        self._own_id = own_id
        self._weights: Dict[str, bytes] = {}
        self._found: Sequence[NodeRecord] = ()
        self._ranked: Dict[str, NodeRecord] = {}

    def of(self, found: Sequence[NodeRecord]) -> Dict[str, NodeRecord]:
        """The nodes by their ids, the most wanted first, without the client itself."""
        if found is not self._found:
            nodes = [record for record in found if record.id != self._own_id]
            self._weights = {record.id: self._weights.get(record.id) or self._weight(record.id) for record in nodes}
            nodes.sort(key=lambda record: self._weights[record.id], reverse=True)
            self._ranked = {record.id: record for record in nodes}
            self._found = found
        return self._ranked

    def _weight(self, node_id: str) -> bytes:
        return blake2b(node_id.encode(), digest_size=16, key=self._key).digest()


def first(ranked: Dict[str, NodeRecord], size: float, accepts: Callable[[str], bool]) -> List[str]:
    """The ids of the `size` most wanted nodes that `accepts` holds for."""
    members: List[str] = []
    for node_id in ranked:
        if len(members) >= size:
            break
        if accepts(node_id):
            members.append(node_id)
    return members
