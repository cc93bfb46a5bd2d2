"""The mesh in Python: decorated handlers and `peer.call`, every option at its default."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, AsyncIterator, Dict, Optional, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "sample-app" / "python-peer"))

from nestjs_mesh import Peer

from program import Side, item_text, run

Message = Dict[str, Any]


class MeshSide(Side[Message]):
    """Both sides."""

    def __init__(self) -> None:
        self._peer: Optional[Peer] = None
        self._service = ""

    async def serve(self, around: Dict[str, Any]) -> str:
        # The peers share a registry, and each client must reach its own server only.
        service = f"bench-server-{os.getpid()}"
        peer = self._peer = Peer(service, _registry(around))

        @peer.handler("echo")
        async def echo(message: Message) -> Message:
            return message

        @peer.handler("items")
        async def items(count: int) -> AsyncIterator[Dict[str, Any]]:
            for n in range(count):
                yield {"n": n, "text": item_text(n)}

        @peer.event("seen")
        async def seen(message: Message) -> None:
            self.count_event()

        await peer.start()
        return service

    async def connect(self, around: Dict[str, Any]) -> None:
        self._service = around["address"]
        self._peer = Peer("bench-client", _registry(around))
        await self._peer.start()

    async def close(self) -> None:
        await self._started.close()

    def message(self, message_id: int, text: str) -> Message:
        return {"id": message_id, "text": text}

    def content(self, message: Message) -> Tuple[int, str]:
        return message["id"], message["text"]

    async def call(self, message: Message) -> Message:
        answer: Message = await self._started.call(self._service, "echo", message)
        return answer

    async def emit(self, message: Message) -> None:
        await self._started.emit(self._service, "seen", message)

    async def stream(self, count: int) -> int:
        total = 0
        async for item in self._started.stream(self._service, "items", count):
            total += item["n"]
        return total

    @property
    def _started(self) -> Peer:
        if self._peer is None:
            raise RuntimeError("neither served nor connected yet")
        return self._peer


def _registry(around: Dict[str, Any]) -> str:
    return str(around["servers"].get("redis") or f"file:{around['folder']}/registry")


if __name__ == "__main__":
    run(MeshSide())
