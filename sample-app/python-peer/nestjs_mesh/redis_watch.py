"""Reads the live nodes of one service: all of them once, then what the log says has changed and whose lease is over."""

from __future__ import annotations

import random
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional

from .redis_keys import EPOCH, SCAN, index_key, log_key, record_key
from .redis_link import GRACE_MS, KEPT_ENTRIES, RedisLink
from .redis_scan import FIRST_SCAN_AGE_MS, SCAN_EVERY_LOOKS, RedisScan
from .registry import HEARTBEAT_INTERVAL, NodeRecord

#: All records are read again after so many milliseconds for each of them, so that no slip of the log lasts.
_REREAD_MS_PER_NODE = 3_000
_LEAST_REREAD_MS = 300_000


class _Known(NamedTuple):
    text: bytes
    record: NodeRecord


class RedisWatch:
    """A look at a service in which nothing happens costs the same for any number of nodes.

    read -- the record in a value; None, with one warning, when it is no good
    """

    def __init__(
        self,
        service: str,
        link: RedisLink,
        scan: RedisScan,
        read: Callable[[bytes, str, str], Optional[NodeRecord]],
    ) -> None:
        self._service = service
        self._link = link
        self._scan = scan
        self._read = read
        self._known: Dict[str, _Known] = {}
        #: Up to where the log was read; None: all records are to be read.
        self._position: Optional[str] = None
        self._epoch = b""
        self._reread_at = 0.0
        self._looks = 0
        #: Those in a row that found nobody.
        self._empty_looks = 0

    async def look(self) -> List[NodeRecord]:
        """The live nodes now; MeshError when Redis is away."""
        try:
            scanned_at = await self._refresh()
            if await self._is_scan_due(scanned_at):
                await self._scan.walk()
                await self._refresh()
        except BaseException:
            # What was read in part may be another Redis by the next time.
            self._position = None
            raise
        return [self._known[node_id].record for node_id in sorted(self._known)]

    async def _refresh(self) -> Optional[int]:
        """Brings what is known up to date; returns when the keyspace was walked last."""
        now = await self._link.now_ms()
        pipe = self._link.client.pipeline(transaction=False)
        pipe.mget([EPOCH, SCAN])
        if self._position is not None:
            pipe.xrange(log_key(self._service), self._position, "+", KEPT_ENTRIES + 1)
            pipe.zrangebyscore(index_key(self._service), now - GRACE_MS, now)
        (epoch, scanned_at), *rest = await self._link.ask(pipe.execute())
        if epoch is None:
            epoch = await self._begin_epoch()
        if not rest or epoch != self._epoch or now >= self._reread_at or len(rest[0]) > KEPT_ENTRIES:
            await self._read_all(epoch, now)
        else:
            await self._read_some(*rest)
        return None if scanned_at is None else int(float(scanned_at))

    async def _read_some(self, entries: List[Any], doubtful: List[bytes]) -> None:
        expired = {member.decode("utf-8", "replace") for member in doubtful}
        ids = set(expired)
        for entry_id, fields in entries:
            if entry_id.decode() != self._position:
                ids.update(fields.get(b"ids", b"").decode("utf-8", "replace").split())
        if ids:
            missing = await self._read_into(self._known, sorted(ids))
            await self._reap([node_id for node_id in missing if node_id in expired])
        if entries:
            self._position = entries[-1][0].decode()

    async def _read_all(self, epoch: bytes, now: int) -> None:
        # The end of the log first: what is added while the records are read is then read once more.
        tail = await self._link.ask(self._link.client.xrevrange(log_key(self._service), "+", "-", 1))
        asked = self._link.client.zrangebyscore(index_key(self._service), now - GRACE_MS, "+inf")
        ids = sorted({member.decode("utf-8", "replace") for member in await self._link.ask(asked)})
        before, self._known = self._known, {}
        missing = await self._read_into(before, ids)
        await self._reap(missing)
        self._position = tail[0][0].decode() if tail else "0-0"
        self._epoch = epoch
        self._reread_at = now + random.uniform(0.9, 1.1) * max(_LEAST_REREAD_MS, _REREAD_MS_PER_NODE * len(ids))

    async def _read_into(self, before: Dict[str, _Known], ids: List[str]) -> List[str]:
        """Reads the keys of `ids`; returns those that have none."""
        values = await self._link.read_records([record_key(self._service, node_id) for node_id in ids])
        missing = []
        for node_id, value in zip(ids, values):
            known = before.get(node_id)
            self._known.pop(node_id, None)
            if value is None:
                missing.append(node_id)
            elif known is not None and known.text == value:
                self._known[node_id] = known
            else:
                record = self._read(value, self._service, node_id)
                if record is not None:
                    self._known[node_id] = _Known(value, record)
        return missing

    async def _reap(self, ids: Iterable[str]) -> None:
        """Takes out of the index those whose key is gone; the first who sees it tells the others."""
        gone = list(ids)
        if not gone or not await self._link.ask(self._link.client.zrem(index_key(self._service), *gone)):
            return
        pipe = self._link.client.pipeline(transaction=False)
        self._link.log(pipe, self._service, gone)
        self._link.hint(pipe, "expire", self._service, gone[0])
        await self._link.ask(pipe.execute())

    async def _is_scan_due(self, scanned_at: Optional[int]) -> bool:
        patience: float = FIRST_SCAN_AGE_MS
        if self._looks > 0:
            # While nobody is known after 1, 2, 4, 5, 5... looks.
            powers = 2 ** (self._empty_looks.bit_length() - 1) if self._empty_looks else SCAN_EVERY_LOOKS
            looks = SCAN_EVERY_LOOKS if self._known else min(powers, SCAN_EVERY_LOOKS)
            patience = 0.9 * looks * HEARTBEAT_INTERVAL * 1000
        self._looks += 1
        self._empty_looks = 0 if self._known else self._empty_looks + 1
        return scanned_at is None or abs(await self._link.now_ms() - scanned_at) >= patience

    async def _begin_epoch(self) -> bytes:
        """Redis has no mark, so it is new or lost its data: whoever sees it first writes one."""
        mark = f"{random.getrandbits(128):032x}".encode()
        if await self._link.ask(self._link.client.set(EPOCH, mark, nx=True)):
            return mark
        found: Optional[bytes] = await self._link.ask(self._link.client.get(EPOCH))
        return found or mark
