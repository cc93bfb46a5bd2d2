"""What the parts of the Redis registry share: commands that end, the clock of Redis, and the log of changes."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Awaitable, Dict, Iterable, List, Optional

import redis.exceptions

from .errors import MeshError, unavailable
from .redis_keys import EVENTS_CHANNEL, events_channel, log_key
from .registry import REGISTRY_TIMEOUT, NodeRecord

#: A member stays in the index this long after its score; bridges clocks that differ.
GRACE_MS = 60_000
#: The newest entries of a log that are kept, at least.
KEPT_ENTRIES = 1_000
#: A log to which nothing is added disappears after this time.
LOG_TTL_MS = 3_600_000
#: How often the difference between the clocks is measured again, in seconds.
_MEASURE_INTERVAL = 60.0


class RedisLink:
    """One client, made by `RedisRegistry.connect()`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client: Any = None
        self._offset_ms = 0.0
        self._measured_at: Optional[float] = None

    async def ask(self, answer: Awaitable[Any]) -> Any:
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

    async def now_ms(self) -> int:
        """Epoch milliseconds by the clock of Redis; by the local one where TIME is not permitted."""
        began = time.monotonic()
        if self._measured_at is None or began - self._measured_at >= _MEASURE_INTERVAL:
            self._measured_at = began
            before = time.time()
            try:
                seconds, microseconds = await asyncio.wait_for(self.client.time(), REGISTRY_TIMEOUT)
                middle = (before + time.time()) / 2
                self._offset_ms = int(seconds) * 1000 + int(microseconds) / 1000 - middle * 1000
            except redis.exceptions.NoPermissionError:
                pass
            except (redis.exceptions.RedisError, OSError, asyncio.TimeoutError):
                self._measured_at = None
        return int(time.time() * 1000 + self._offset_ms)

    def log(self, pipe: Any, service: str, ids: Iterable[str]) -> None:
        """Adds nodes that came, changed or went to the log, after the change itself stands."""
        pipe.xadd(log_key(service), {"ids": " ".join(ids)}, maxlen=KEPT_ENTRIES, approximate=True)
        pipe.pexpire(log_key(service), LOG_TTL_MS)

    def tell(self, pipe: Any, event: str, record: NodeRecord) -> None:
        """Publishes a join or a leave; it only makes others look sooner."""
        message: Dict[str, Any] = {"event": event, "service": record.service, "id": record.id}
        if event == "join":
            message["record"] = record.to_wire()
        text = json.dumps(message, ensure_ascii=False)
        pipe.publish(events_channel(record.service), text)
        pipe.publish(EVENTS_CHANNEL, text)

    def hint(self, pipe: Any, event: str, service: str, node_id: str) -> None:
        """Tells those who watch the service that this node, and perhaps others, were found or ended without a word."""
        pipe.publish(events_channel(service), json.dumps({"event": event, "service": service, "id": node_id}))

    async def read_records(self, keys: List[str]) -> List[Optional[bytes]]:
        """The values of many keys, in the same order."""
        values: List[Optional[bytes]] = []
        for start in range(0, len(keys), 500):
            values += await self.ask(self.client.mget(keys[start : start + 500]))
        return values
