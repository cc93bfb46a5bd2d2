"""The registry in Redis: the published keys, an index and a log beside them, and hints by pub/sub."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any, Dict, List, Optional
from urllib.parse import urlsplit

import redis.asyncio
import redis.exceptions

from .redis_keys import EVENTS_CHANNEL, SUBSCRIBERS, events_channel, index_key, record_key
from .redis_link import GRACE_MS, RedisLink
from .redis_scan import RedisScan
from .redis_watch import RedisWatch
from .registry import RECORD_TTL, REGISTRY_TIMEOUT, NodeRecord, Registry, events_of, is_service, stop_task

log = logging.getLogger("nestjs_mesh")

_INDEX_TTL_MS = 3_600_000
#: Every so many writes the index of a service is rid of what expired long ago.
_SWEEP_EVERY_WRITES = 30


class RedisRegistry(Registry):
    """Writes records and finds those of others; what a look costs does not grow with the number of nodes."""

    def __init__(self, url: str) -> None:
        super().__init__()
        parts = urlsplit(url)
        self.url = f"{parts.scheme}://{parts.hostname or 'localhost'}:{parts.port or 6379}{parts.path}"
        try:
            redis.asyncio.connection.parse_url(url)
        except ValueError as error:
            raise ValueError(f"registry {self.url!r} is no Redis URL: {error}") from error
        self._full_url = url
        self._link = RedisLink(self.url)
        self._scan = RedisScan(
            self._link, lambda value, service, node_id: self.read(value, service, node_id) is not None
        )
        self._watches: Dict[str, RedisWatch] = {}
        self._hints: Optional[asyncio.Task[None]] = None
        self._pubsub: Any = None
        self._writes = 0
        #: When each record was last written without a fault, by key.
        self._written_at: Dict[str, float] = {}

    async def connect(self) -> None:
        # Made here and not earlier: before Python 3.10 its locks belong to the loop that runs when they are made.
        self._link.client = redis.asyncio.Redis.from_url(
            self._full_url,
            socket_timeout=REGISTRY_TIMEOUT,
            socket_connect_timeout=REGISTRY_TIMEOUT,
            socket_keepalive=True,
        )
        try:
            await self._link.ask(self._link.client.ping())
        except BaseException:
            await self.close()
            raise
        self._hints = asyncio.get_event_loop().create_task(self._listen())

    async def announce(self, record: NodeRecord, joins: bool) -> None:
        link, key, index = self._link, record_key(record.service, record.id), index_key(record.service)
        written_at = self._written_at.pop(key, None)
        now, ttl_ms = await link.now_ms(), int(RECORD_TTL * 1000)
        text = json.dumps(record.to_wire(), separators=(",", ":"), ensure_ascii=False)
        pipe = link.client.pipeline(transaction=True)
        pipe.set(key, text, px=ttl_ms)
        pipe.zadd(index, {record.id: now + ttl_ms})
        takes_events = bool(events_of(record))
        if takes_events:
            pipe.zadd(SUBSCRIBERS, {record.service: now + ttl_ms})
        if self._writes % _SWEEP_EVERY_WRITES == 0:
            pipe.zremrangebyscore(index, "-inf", now - 2 * GRACE_MS)
            pipe.pexpire(index, _INDEX_TTL_MS)
            pipe.zremrangebyscore(SUBSCRIBERS, "-inf", now - 2 * GRACE_MS)
        self._writes += 1
        answers = await link.ask(pipe.execute())
        more = link.client.pipeline(transaction=False)
        # Redis lost it, or others may have seen its lease end. No event: after a flush thousands come back at once.
        if joins or answers[1] or written_at is None or time.monotonic() - written_at >= RECORD_TTL:
            link.log(more, record.service, [record.id])
        if joins:
            link.tell(more, "join", record)
        if takes_events and answers[2]:
            more.publish(SUBSCRIBERS, record.service)
        if len(more):
            await link.ask(more.execute())
        self._written_at[key] = time.monotonic()

    async def withdraw(self, record: NodeRecord) -> None:
        self._written_at.pop(record_key(record.service, record.id), None)
        pipe = self._link.client.pipeline(transaction=True)
        pipe.delete(record_key(record.service, record.id))
        pipe.zrem(index_key(record.service), record.id)
        self._link.log(pipe, record.service, [record.id])
        self._link.tell(pipe, "leave", record)
        await self._link.ask(pipe.execute())

    async def find(self, service: str) -> List[NodeRecord]:
        watch = self._watches.get(service)
        if watch is None:
            watch = self._watches[service] = RedisWatch(service, self._link, self._scan, self.read)
            await self._hear(events_channel(service))
        return await watch.look()

    async def subscribers(self) -> List[str]:
        since = await self._link.now_ms() - GRACE_MS
        found = await self._link.ask(self._link.client.zrangebyscore(SUBSCRIBERS, since, "+inf"))
        names = (member.decode("utf-8", "replace") for member in found)
        return sorted(name for name in names if is_service(name))

    async def close(self) -> None:
        if self._hints is not None:
            await stop_task(self._hints)
        if self._link.client is not None:
            await _close(self._link.client)

    async def _hear(self, channel: str) -> None:
        """Hears one more channel; where that fails, the listening begins anew with all of them."""
        try:
            if self._pubsub is not None:
                await asyncio.wait_for(self._pubsub.subscribe(channel), REGISTRY_TIMEOUT)
        except (redis.exceptions.RedisError, OSError, asyncio.TimeoutError) as error:
            log.debug("no hints on %s from the registry %s: %s", channel, self.url, error)

    async def _listen(self) -> None:
        """Hands on hints. They only save waiting: what is lost here is found by the next look at the registry."""
        while True:
            pubsub = self._link.client.pubsub(ignore_subscribe_messages=True)
            try:
                await pubsub.subscribe(SUBSCRIBERS, *(events_channel(service) for service in self._watches))
                self._pubsub = pubsub
                while True:
                    message = await pubsub.get_message(timeout=1.0)
                    if message is not None:
                        self._hint(message)
            except (redis.exceptions.RedisError, OSError, asyncio.TimeoutError) as error:
                log.debug("no hints from the registry %s: %s", self.url, error)
            finally:
                self._pubsub = None
                try:
                    await _close(pubsub)
                except (redis.exceptions.RedisError, OSError):
                    pass
            await asyncio.sleep(1.0)

    def _hint(self, message: Dict[str, Any]) -> None:
        channel = message.get("channel", b"").decode("utf-8", "replace")
        if channel == SUBSCRIBERS:
            self.on_subscriber_hint()
        elif channel.startswith(f"{EVENTS_CHANNEL}:"):
            self.on_hint(channel[len(EVENTS_CHANNEL) + 1 :])


async def _close(client: Any) -> None:
    await getattr(client, "aclose", client.close)()  # redis-py 5.0.1 renamed close() to aclose()
