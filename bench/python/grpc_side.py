"""gRPC in Python: grpcio's asyncio server and client, every option at its default."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, AsyncIterator, Dict, Optional, Tuple

import grpc

from program import Side, item_text, run

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "proto"))
# Made from the file when the program starts, as the Node peer does.
protos, services = grpc.protos_and_services("bench.proto")


class Servicer(services.BenchServicer):  # type: ignore[misc, name-defined]
    """The handlers; each does the least."""

    async def Echo(self, request: Any, context: Any) -> Any:
        return request

    async def Items(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for n in range(request.count):
            yield protos.Item(n=n, text=item_text(n))


class GrpcSide(Side[Any]):
    """Both sides."""

    def __init__(self) -> None:
        self._server: Optional[grpc.aio.Server] = None
        self._channel: Optional[grpc.aio.Channel] = None
        self._stub: Any = None

    async def serve(self, around: Dict[str, Any]) -> str:
        self._server = grpc.aio.server()
        services.add_BenchServicer_to_server(Servicer(), self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return f"127.0.0.1:{port}"

    async def connect(self, around: Dict[str, Any]) -> None:
        self._channel = grpc.aio.insecure_channel(around["address"])
        self._stub = services.BenchStub(self._channel)
        await self._channel.channel_ready()

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
        if self._server is not None:
            await self._server.stop(grace=1)

    def message(self, message_id: int, text: str) -> Any:
        return protos.Message(id=message_id, text=text)

    def content(self, message: Any) -> Tuple[int, str]:
        return message.id, message.text

    async def call(self, message: Any) -> Any:
        return await self._stub.Echo(message)

    async def stream(self, count: int) -> int:
        total = 0
        async for item in self._stub.Items(protos.Count(count=count)):
            total += item.n
        return total


if __name__ == "__main__":
    run(GrpcSide())
