"""The registry in Redis: the published keys, an index beside them, and hints by pub/sub."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from typing import Any, Awaitable, Dict, List, Optional, Set
from urllib.parse import urlsplit

import redis.asyncio
import redis.exceptions

from .errors import MeshError, unavailable
from .registry import RECORD_TTL, REGISTRY_TIMEOUT, NodeRecord, Registry, events_of, is_service, stop_task

log = logging.getLogger("nestjs_mesh")

EVENTS_CHANNEL = "mesh:events"
#: A sorted set of the services that take events; the score is when that is over, in epoch milliseconds.
SUBSCRIBERS = "mesh:subscribers"
#: How often a service that the index knows is looked for by SCAN as well, for peers that keep only part 1.
SCAN_INTERVAL = 15.0
#: Bridges clocks that differ.
_STALE_MS = 60_000
_INDEX_TTL_MS = 3_600_000


def _key(service: str, node_id: str) -> str:
    return f"mesh:service:{service}:{node_id}"


def _index(service: str) -> str:
    return f"mesh:index:{service}"


class RedisRegistry(Registry):
    """Reads the index first; SCAN only when that gives nothing, and now and then."""

    def __init__(self, url: str) -> None:
        super().__init__()
        parts = urlsplit(url)
        self.url = f"{parts.scheme}://{parts.hostname or 'localhost'}:{parts.port or 6379}{parts.path}"
        try:
            redis.asyncio.connection.parse_url(url)
        except ValueError as error:
            raise ValueError(f"registry {self.url!r} is no Redis URL: {error}") from error
        self._full_url = url
        self._redis: Any = None
        self._hints: Optional[asyncio.Task[None]] = None
        self._scanned: Dict[str, Set[str]] = {}
        self._scanned_at: Dict[str, float] = {}

    async def connect(self) -> None:
        # Made here and not earlier: before Python 3.10 its locks belong to the loop that runs when they are made.
        self._redis = redis.asyncio.Redis.from_url(
            self._full_url,
            socket_timeout=REGISTRY_TIMEOUT,
            socket_connect_timeout=REGISTRY_TIMEOUT,
            socket_keepalive=True,
        )
        try:
            await self._ask(self._redis.ping())
        except BaseException:
            await self.close()
            raise
        self._hints = asyncio.get_event_loop().create_task(self._listen())

    async def announce(self, record: NodeRecord, joins: bool) -> None:
        now, ttl_ms, index = _now_ms(), int(RECORD_TTL * 1000), _index(record.service)
        text = json.dumps(record.to_wire(), separators=(",", ":"), ensure_ascii=False)
        pipe = self._redis.pipeline(transaction=True)
        pipe.set(_key(record.service, record.id), text, px=ttl_ms)
        pipe.zadd(index, {record.id: now + ttl_ms})
        pipe.zremrangebyscore(index, "-inf", now - 2 * _STALE_MS)
        pipe.pexpire(index, _INDEX_TTL_MS)
        if events_of(record):
            pipe.zadd(SUBSCRIBERS, {record.service: now + ttl_ms})
            pipe.zremrangebyscore(SUBSCRIBERS, "-inf", now - 2 * _STALE_MS)
        if joins:
            pipe.publish(EVENTS_CHANNEL, _event("join", record))
        await self._ask(pipe.execute())

    async def withdraw(self, record: NodeRecord) -> None:
        pipe = self._redis.pipeline(transaction=True)
        pipe.delete(_key(record.service, record.id))
        pipe.zrem(_index(record.service), record.id)
        pipe.publish(EVENTS_CHANNEL, _event("leave", record))
        await self._ask(pipe.execute())

    async def find(self, service: str) -> List[NodeRecord]:
        found = await self._ask(self._redis.zrangebyscore(_index(service), _now_ms() - _STALE_MS, "+inf"))
        ids = {member.decode("utf-8", "replace") for member in found}
        now = time.monotonic()
        if not ids or now - self._scanned_at.get(service, -SCAN_INTERVAL) >= SCAN_INTERVAL:
            self._scanned_at[service] = now
            self._scanned[service] = await self._scan(service)
            await self._share(service, self._scanned[service] - ids)
        wanted = sorted(ids | self._scanned.get(service, set()))
        if not wanted:
            return []
        values = await self._ask(self._redis.mget([_key(service, node_id) for node_id in wanted]))
        found = [self.read(value, service, node_id) for node_id, value in zip(wanted, values) if value is not None]
        return [record for record in found if record is not None]

    async def subscribers(self) -> List[str]:
        found = await self._ask(self._redis.zrangebyscore(SUBSCRIBERS, _now_ms() - _STALE_MS, "+inf"))
        names = (member.decode("utf-8", "replace") for member in found)
        return sorted(name for name in names if is_service(name))

    async def close(self) -> None:
        if self._hints is not None:
            await stop_task(self._hints)
        if self._redis is not None:
            await _close(self._redis)

    async def _scan(self, service: str) -> Set[str]:
        prefix = _key(service, "")
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*"
        ids: Set[str] = set()
        cursor = 0
        while True:
            cursor, keys = await self._ask(self._redis.scan(cursor, match=pattern, count=1000))
            ids.update(key.decode("utf-8", "replace")[len(prefix) :] for key in keys)
            if not cursor:
                return ids

    async def _share(self, service: str, ids: Set[str]) -> None:
        """Adds what only SCAN found to the index, for everybody."""
        for node_id in ids:
            left = await self._ask(self._redis.pttl(_key(service, node_id)))
            if left > 0:
                await self._ask(self._redis.zadd(_index(service), {node_id: _now_ms() + left}))

    async def _ask(self, answer: Awaitable[Any]) -> Any:
        """Every exchange has an end, and one kind of error."""
        try:
            return await asyncio.wait_for(answer, REGISTRY_TIMEOUT)
        except redis.exceptions.AuthenticationError as error:
            message = f"the registry {self.url} refused the user name or password: {error}"
            raise MeshError("UNAUTHENTICATED", message, delivery="not-sent") from error
        except (redis.exceptions.RedisError, OSError, asyncio.TimeoutError) as error:
            reason = str(error) or f"no answer within {REGISTRY_TIMEOUT:g} s"
            message = f"cannot use the registry {self.url}: {reason}"
            raise unavailable(message, "not-sent") from error

    async def _listen(self) -> None:
        """Hands on hints. They only save waiting: what is lost here is found by the next look at the registry."""
        while True:
            pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
            try:
                await pubsub.subscribe(EVENTS_CHANNEL)
                while True:
                    message = await pubsub.get_message(timeout=1.0)
                    if message is not None:
                        self._hint(message.get("data"))
            except (redis.exceptions.RedisError, OSError, asyncio.TimeoutError) as error:
                log.debug("no hints from the registry %s: %s", self.url, error)
            finally:
                try:
                    await _close(pubsub)
                except (redis.exceptions.RedisError, OSError):
                    pass
            await asyncio.sleep(1.0)

    def _hint(self, data: Any) -> None:
        try:
            service = json.loads(data)["service"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return
        if isinstance(service, str):
            self.on_hint(service)


def _event(event: str, record: NodeRecord) -> str:
    message: Dict[str, Any] = {"event": event, "service": record.service, "id": record.id}
    if event == "join":
        message["record"] = record.to_wire()
    return json.dumps(message, ensure_ascii=False)


async def _close(client: Any) -> None:
    await getattr(client, "aclose", client.close)()  # redis-py 5.0.1 renamed close() to aclose()


def _now_ms() -> int:
    return int(time.time() * 1000)
