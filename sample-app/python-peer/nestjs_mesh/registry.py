"""Who is where: the record by which a node announces itself, the store's interface, and the heartbeat."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Set

from .errors import MeshError

log = logging.getLogger("nestjs_mesh")

HEARTBEAT_INTERVAL = 2.0
RECORD_TTL = 10.0
#: Every exchange with a store is given up after this many seconds.
REGISTRY_TIMEOUT = 5.0

#: The member of a record's metadata that belongs to the mesh.
RESERVED = "mesh"

_SERVICE = re.compile(r"[A-Za-z0-9@][A-Za-z0-9._@/+-]{0,127}")


def check_service(name: Any) -> str:
    """A service name that is safe in every key, path and search; ValueError otherwise."""
    if not is_service(name):
        raise ValueError(
            f"service name {name!r} must have 1 to 128 characters of A-Z a-z 0-9 . _ @ / + - and begin with a letter, "
            "a digit or @"
        )
    return str(name)


def is_service(name: Any) -> bool:
    """True for what can be the name of a service."""
    return isinstance(name, str) and _SERVICE.fullmatch(name) is not None


@dataclass(frozen=True)
class NodeRecord:
    """One running instance of a service."""

    id: str
    service: str
    host: str
    port: int
    metadata: Dict[str, Any] = field(default_factory=dict)

    def to_wire(self) -> Dict[str, Any]:
        """The JSON that others read."""
        wire = {"id": self.id, "service_name": self.service, "host": self.host, "port": self.port}
        return {**wire, "metadata": self.metadata}


def parse_record(value: Any, service: str, node_id: str) -> NodeRecord:
    """Reads what somebody else wrote under this name and id; ValueError says what is wrong with it."""
    if isinstance(value, (str, bytes)):
        try:
            value = json.loads(value)
        except RecursionError:
            raise ValueError("JSON nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    host, port, metadata = value.get("host"), value.get("port"), value.get("metadata")
    if value.get("id") != node_id:
        raise ValueError(f"its id {value.get('id')!r} is not that of its key")
    if value.get("service_name") != service:
        raise ValueError(f"its service_name {value.get('service_name')!r} is not that of its key")
    if not isinstance(host, str) or not host:
        raise ValueError(f"host {host!r} is no name or address")
    if isinstance(port, float) and port.is_integer():
        port = int(port)
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        raise ValueError(f"port {port!r} is not in 1 to 65535")
    return NodeRecord(node_id, service, host, port, metadata if isinstance(metadata, dict) else {})


def events_of(record: NodeRecord) -> List[str]:
    """The event patterns that a node announces; what is not of the right shape is left out."""
    mesh = record.metadata.get(RESERVED)
    events = mesh.get("events") if isinstance(mesh, dict) else None
    return [pattern for pattern in events if isinstance(pattern, str)] if isinstance(events, list) else []


class Registry(ABC):
    """A store of records. Its methods raise MeshError when the store is away."""

    #: Without user name and password.
    url: str
    #: Seconds between two looks at a watched service.
    poll_interval = HEARTBEAT_INTERVAL

    def __init__(self) -> None:
        self._warned: Set[str] = set()
        #: Called with a service's name when something is said to have changed there.
        self.on_hint: Callable[[str], None] = lambda service: None
        #: Called when another service is said to take events.
        self.on_subscriber_hint: Callable[[], None] = lambda: None

    @abstractmethod
    async def connect(self) -> None:
        """Reaches the store, or raises within REGISTRY_TIMEOUT."""

    @abstractmethod
    async def announce(self, record: NodeRecord, joins: bool) -> None:
        """Writes the whole record, to live for RECORD_TTL; `joins` is False when it only lives on."""

    @abstractmethod
    async def withdraw(self, record: NodeRecord) -> None:
        """Takes the record out."""

    @abstractmethod
    async def find(self, service: str) -> List[NodeRecord]:
        """The live nodes of a service."""

    @abstractmethod
    async def subscribers(self) -> List[str]:
        """The services with a node that announces event patterns, and maybe some more."""

    @abstractmethod
    async def close(self) -> None:
        """Lets go of the store."""

    def read(self, value: Any, service: str, node_id: str) -> Optional[NodeRecord]:
        """A record of somebody else; None, with one warning, when it is no good."""
        try:
            return parse_record(value, service, node_id)
        except ValueError as error:
            self.warn_once(service, node_id, str(error))
            return None

    def warn_once(self, service: str, node_id: str, reason: str) -> None:
        """A bad record is met again at every look; it is told once."""
        key = f"{service}:{node_id}"
        if key not in self._warned and len(self._warned) < 10_000:
            self._warned.add(key)
            log.warning("registry record of %s, node %s, is ignored: %s", service, node_id, reason)


def open_registry(url: str) -> Registry:
    """`redis://…`, `rediss://…`, or `file:DIR`; in DIR (relative, `/abs` or `///abs`) percent signs mean themselves."""
    scheme, _, rest = url.partition(":")
    scheme = scheme.lower()
    if scheme in ("redis", "rediss"):
        from .redis_registry import RedisRegistry

        return RedisRegistry(url)
    if scheme == "file" and rest:
        from .file_registry import FileRegistry

        return FileRegistry(re.sub(r"^//(?=/)", "", rest))
    raise ValueError(f"registry must be redis://HOST:PORT, rediss://HOST:PORT or file:DIR; got {url!r}")


def jittered(seconds: float) -> float:
    """+-10 %, so that nodes that started together do not beat together."""
    return seconds * random.uniform(0.9, 1.1)


async def stop_task(task: asyncio.Task[None]) -> None:
    """Cancels a task and waits for its end; again when it misses one (wait_for can swallow it before Python 3.12)."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=1.0)


class Announcement:
    """A node's standing announcement: every beat writes the whole record, so a flushed store heals in one beat."""

    def __init__(self, registry: Registry, record: NodeRecord) -> None:
        self._registry = registry
        self._record = record
        self._task: Optional[asyncio.Task[None]] = None

    async def start(self) -> None:
        """Returns when the record stands; raises MeshError when the store is away."""
        await self._registry.announce(self._record, joins=True)
        self._task = asyncio.get_event_loop().create_task(self._beat())

    async def end(self) -> None:
        """Withdraws the record; a store that is away forgets it by itself."""
        if self._task is None:
            return
        await stop_task(self._task)
        try:
            await self._registry.withdraw(self._record)
        except MeshError as error:
            log.warning("not withdrawn from the registry, the record ends by itself in %g s: %s", RECORD_TTL, error)

    async def _beat(self) -> None:
        good_at, lost = time.monotonic(), False
        while True:
            await asyncio.sleep(jittered(HEARTBEAT_INTERVAL))
            try:
                await self._registry.announce(self._record, joins=False)
                now = time.monotonic()
                if lost:
                    log.warning("the registry %s is back; it was stale for %.0f s", self._registry.url, now - good_at)
                good_at, lost = now, False
            except MeshError as error:
                if not lost:
                    log.warning("%s; known nodes go on being used, and this node announces itself again later", error)
                lost = True
