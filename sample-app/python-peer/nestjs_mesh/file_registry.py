"""The registry that needs no server: one JSON file a node in a directory that all nodes share."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Callable, List, Optional, TypeVar
from urllib.parse import quote, unquote

from .errors import unavailable
from .registry import RECORD_TTL, NodeRecord, Registry, is_service

T = TypeVar("T")
#: A reader clears away what has been expired for this long.
LITTER_SECONDS = 60.0


class FileRegistry(Registry):
    """`DIR/{percent-encoded service}/{node id}.json`: the record plus `expires_at` in epoch milliseconds."""

    poll_interval = 0.5  # no hints here: readers look often enough to need none

    def __init__(self, directory: str) -> None:
        super().__init__()
        self._root = Path(directory)
        self.url = f"file:{directory}"

    async def connect(self) -> None:
        await self._run(lambda: self._root.mkdir(parents=True, exist_ok=True))

    async def announce(self, record: NodeRecord, joins: bool) -> None:
        await self._run(lambda: self._write(record))

    async def withdraw(self, record: NodeRecord) -> None:
        await self._run(lambda: _unlink(self._folder(record.service) / f"{record.id}.json"))

    async def find(self, service: str) -> List[NodeRecord]:
        return await self._run(lambda: self._find(service))

    async def subscribers(self) -> List[str]:
        return await self._run(self._services)

    async def close(self) -> None:
        pass

    def _folder(self, service: str) -> Path:
        return self._root / quote(service, safe="")

    def _write(self, record: NodeRecord) -> None:
        folder = self._folder(record.service)
        folder.mkdir(parents=True, exist_ok=True)
        content = {**record.to_wire(), "expires_at": int((time.time() + RECORD_TTL) * 1000)}
        draft = folder / f".{record.id}.{os.getpid()}.tmp"
        draft.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        os.replace(draft, folder / f"{record.id}.json")  # readers see the old file or the new one, never half of one

    def _find(self, service: str) -> List[NodeRecord]:
        try:
            paths = sorted(self._folder(service).iterdir())
        except FileNotFoundError:
            return []
        found = [self._live(service, path) for path in paths if path.suffix == ".json" and path.name[0] != "."]
        return [record for record in found if record is not None]

    def _services(self) -> List[str]:
        """Every service in whose folder something was written of late: which events it takes is in the records."""
        try:
            folders = [path for path in self._root.iterdir() if path.is_dir()]
        except FileNotFoundError:
            return []
        names = [unquote(path.name) for path in folders if _written_at(path) > time.time() - LITTER_SECONDS]
        return sorted(name for name in names if is_service(name))

    def _live(self, service: str, path: Path) -> Optional[NodeRecord]:
        try:
            text = path.read_bytes()
        except FileNotFoundError:  # withdrawn since the directory was read
            return None
        record = self.read(text, service, path.stem)
        if record is None:
            return None
        expires_at = json.loads(text).get("expires_at")
        if not isinstance(expires_at, (int, float)):
            self.warn_once(service, path.stem, f"expires_at {expires_at!r} is no number of milliseconds")
            return None
        age = time.time() - expires_at / 1000
        if age > LITTER_SECONDS:
            _unlink(path)
        return record if age < 0 else None

    async def _run(self, work: Callable[[], T]) -> T:
        """File systems can hang, so they are kept off the event loop."""
        try:
            return await asyncio.get_event_loop().run_in_executor(None, work)
        except OSError as error:
            raise unavailable(f"cannot use the registry {self.url}: {error}", "not-sent") from error


def _written_at(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:  # removed since the directory was read
        return 0.0


def _unlink(path: Path) -> None:
    try:
        path.unlink()
    except FileNotFoundError:
        pass
