"""Finds the peers that keep only part 1 of the protocol: one walk through the keyspace serves everybody."""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, List, Set

from .errors import MeshError
from .redis_keys import RECORD_PATTERN, SCAN, SCAN_LOCK, index_key, place_of_key, record_key
from .redis_link import GRACE_MS, RedisLink
from .registry import HEARTBEAT_INTERVAL, is_service

log = logging.getLogger("nestjs_mesh")

#: Without need, the keyspace is walked once in so many heartbeat intervals.
SCAN_EVERY_LOOKS = 5
#: A walk this young serves the first look of many processes that start together.
FIRST_SCAN_AGE_MS = 500
_STAMP_TTL_MS = int(10 * SCAN_EVERY_LOOKS * HEARTBEAT_INTERVAL * 1000)
#: How long nobody walks again, for each key in Redis.
_PAUSE_MS_PER_KEY = 0.025


class RedisScan:
    """Walks for all services that this process watches.

    is_good -- whether a value is the record of this service and id; it warns when it is not
    """

    def __init__(self, link: RedisLink, is_good: Callable[[bytes, str, str], bool]) -> None:
        self._link = link
        self._is_good = is_good

    async def walk(self) -> Set[str]:
        """The services that got a new node; nobody's when somebody else has just begun to walk, or SCAN is refused."""
        try:
            return await self._walk() if await self._lock() else set()
        except MeshError as error:
            log.debug("cannot scan for peers that are not in the index: %s", error.message)
            return set()

    async def _lock(self) -> bool:
        ask, client = self._link.ask, self._link.client
        keys = await ask(client.dbsize())
        pause = min(GRACE_MS / 3, max(FIRST_SCAN_AGE_MS, keys * _PAUSE_MS_PER_KEY))
        now = await self._link.now_ms()
        if not await ask(client.set(SCAN_LOCK, now, px=int(pause), nx=True)):
            return False
        await ask(client.set(SCAN, now, px=_STAMP_TTL_MS))
        return True

    async def _walk(self) -> Set[str]:
        indexes: Dict[str, Dict[str, float]] = {}
        grown: Set[str] = set()
        cursor = 0
        while True:
            cursor, keys = await self._link.ask(self._link.client.scan(cursor, match=RECORD_PATTERN, count=1000))
            found: Dict[str, List[str]] = {}
            for key in keys:
                service, node_id = place_of_key(key.decode("utf-8", "replace"))
                if is_service(service) and node_id:
                    found.setdefault(service, []).append(node_id)
            for service, ids in found.items():
                if service not in indexes:
                    indexes[service] = await self._scores(service)
                if await self._add(service, ids, indexes[service]):
                    grown.add(service)
            if not cursor:
                return grown

    async def _scores(self, service: str) -> Dict[str, float]:
        since = await self._link.now_ms() - GRACE_MS
        asked = self._link.client.zrangebyscore(index_key(service), since, "+inf", withscores=True)
        return {member.decode("utf-8", "replace"): float(score) for member, score in await self._link.ask(asked)}

    async def _add(self, service: str, ids: List[str], scores: Dict[str, float]) -> bool:
        """A score that is over says that a node does not keep the index itself: its key is read at every look."""
        now = await self._link.now_ms()
        doubtful = [node_id for node_id in dict.fromkeys(ids) if scores.get(node_id, 0) <= now]
        values = await self._link.read_records([record_key(service, node_id) for node_id in doubtful])
        pairs = zip(doubtful, values)
        live = [node_id for node_id, value in pairs if value is not None and self._is_good(value, service, node_id)]
        if not live:
            return False
        await self._link.ask(self._link.client.zadd(index_key(service), dict.fromkeys(live, now)))
        added = [node_id for node_id in live if node_id not in scores]
        if not added:
            return False
        pipe: Any = self._link.client.pipeline(transaction=False)
        self._link.log(pipe, service, added)
        self._link.hint(pipe, "join", service, added[0])
        await self._link.ask(pipe.execute())
        return True
