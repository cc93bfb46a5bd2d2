"""The registry that needs no server: one JSON file a node in a directory that all nodes share."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Callable, List, Optional, TypeVar

from .errors import MeshError
from .registry import RECORD_TTL, NodeRecord, Registry, encode_service

T = TypeVar("T")
#: A reader clears away what has been expired for this long.
LITTER_SECONDS = 60.0


class FileRegistry(Registry):
    """`DIR/{percent-encoded service}/{node id}.json`: the record plus `expires_at` in epoch milliseconds."""

    poll_interval = 0.5

    def __init__(self, directory: str) -> None:
        super().__init__()
        self._root = Path(directory)
        self.url = f"file:{directory}"

    async def connect(self) -> None:
        await self._run(lambda: self._root.mkdir(parents=True, exist_ok=True))

    async def write(self, record: NodeRecord) -> None:
        await self._run(lambda: self._write(record))

    async def remove(self, record: NodeRecord) -> None:
        await self._run(lambda: _unlink(self._path(record)))

    async def find(self, service: str) -> List[NodeRecord]:
        return await self._run(lambda: self._find(service))

    async def publish(self, event: str, record: NodeRecord) -> None:
        pass  # readers look at the directory often enough

    async def close(self) -> None:
        pass

    def _path(self, record: NodeRecord) -> Path:
        return self._root / encode_service(record.service) / f"{record.id}.json"

    def _write(self, record: NodeRecord) -> None:
        path = self._path(record)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {**record.to_wire(), "expires_at": int((time.time() + RECORD_TTL) * 1000)}
        draft = path.parent / f".{record.id}.{os.getpid()}.tmp"
        draft.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        os.replace(draft, path)  # readers see the old file or the new one, never half of one

    def _find(self, service: str) -> List[NodeRecord]:
        try:
            paths = sorted((self._root / encode_service(service)).iterdir())
        except FileNotFoundError:
            return []
        records = []
        now = time.time() * 1000
        for path in paths:
            if path.name.startswith(".") or path.suffix != ".json":
                continue
            try:
                text = path.read_bytes()
            except FileNotFoundError:  # withdrawn since the directory was read
                continue
            record = self._live(text, service, path, now)
            if record is not None:
                records.append(record)
        return records

    def _live(self, text: bytes, service: str, path: Path, now: float) -> Optional[NodeRecord]:
        record = self.read(text, service, path.stem)
        if record is None:
            return None
        expires_at = json.loads(text).get("expires_at")
        if not isinstance(expires_at, (int, float)):
            self.warn_once(service, path.stem, f"expires_at {expires_at!r} is no number of milliseconds")
            return None
        if expires_at < now - LITTER_SECONDS * 1000:
            _unlink(path)
        return record if expires_at > now else None

    async def _run(self, work: Callable[[], T]) -> T:
        """File systems can hang, so they are kept off the event loop."""
        try:
            return await asyncio.get_event_loop().run_in_executor(None, work)
        except OSError as error:
            message = f"cannot use the registry {self.url}: {error}"
            raise MeshError("UNAVAILABLE", message, delivery="not-sent") from error


def _unlink(path: Path) -> None:
    try:
        path.unlink()
    except FileNotFoundError:
        pass
