"""A peer for the tests of the TypeScript side: one handler for each thing that must work between the languages.

Prints `ready <port>` once it is announced; SIGTERM ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import os
import signal
import sys
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any, AsyncIterator, Dict, List

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from nestjs_mesh import Channel, Context, HttpError, MeshError, Peer, RpcError, Tls


async def each(values: List[Any]) -> AsyncIterator[Any]:
    """A list as a stream of input."""
    for value in values:
        yield value


def add_handlers(peer: Peer) -> None:
    """All handlers that the interop tests use."""
    cancelled = {"count": 0}
    produced = {"count": 0}
    notes: List[Any] = []

    @peer.handler("sum")
    def add(data: Dict[str, Any]) -> Any:
        return data["a"] + data["b"]

    @peer.handler({"cmd": "sum"})
    async def add_by_object(data: Dict[str, Any]) -> Any:
        return data["a"] + data["b"]

    @peer.handler("echo")
    def echo(data: Any) -> Any:
        return data

    @peer.handler("bytes")
    def reversed_bytes(data: bytes) -> Dict[str, Any]:
        return {"type": type(data).__name__, "reversed": data[::-1], "big": 2**60 + 1, "keys": {1: None}}

    @peer.handler("wordless")
    def wordless() -> Dict[str, Any]:
        at = datetime(2026, 1, 2, 5, 4, 5, tzinfo=timezone(timedelta(hours=2)))
        return {"at": at, "numbers": [math.nan, math.inf, -math.inf]}

    @peer.handler("metadata")
    def metadata(data: Any, ctx: Context) -> Dict[str, str]:
        return ctx.metadata

    @peer.handler("caller")
    def caller(data: Any, ctx: Context) -> Dict[str, Any]:
        return {"service": ctx.peer.service, "nodeId": ctx.peer.node_id, "remaining": ctx.remaining()}

    @peer.handler("fail")
    async def fail(data: Dict[str, Any]) -> None:
        kind = data.get("kind")
        if kind == "rpc":
            raise RpcError({"code": "E_TEST", "message": "an RpcError", "data": data})
        if kind == "mesh":
            raise RpcError(MeshError("FAILED_PRECONDITION", "a MeshError", details={"kind": "mesh"}))
        if kind == "large":
            raise RpcError({"message": "x" * 5_000_000})
        if kind == "http":
            raise HttpError(data["status"], data.get("response"))
        if kind == "inner mesh":
            raise MeshError("ABORTED", "secret text of a MeshError")
        raise ValueError("secret text of a ValueError")

    @peer.handler("fail-midway")
    async def fail_midway(data: Dict[str, Any]) -> AsyncIterator[int]:
        yield 1
        await fail(data)

    @peer.handler("ask")
    async def ask(data: Dict[str, Any]) -> Dict[str, Any]:
        """Calls a pattern of `service`, as a stream when there is `stream`, and tells what it caught."""
        try:
            if "stream" in data:
                async for _ in peer.stream(data["service"], data["pattern"], data.get("data")):
                    pass
            else:
                await peer.call(data["service"], data["pattern"], data.get("data"))
        except RpcError as error:
            return {"payload": error.payload, "httpStatus": error.http_status, "errorId": error.error_id}
        except MeshError as error:
            return {"code": error.code, "delivery": error.delivery, "httpStatus": error.http_status}
        return {}

    @peer.handler("count")
    async def count(data: Dict[str, Any]) -> AsyncIterator[int]:
        try:
            for number in range(data["n"]):
                yield number
                await asyncio.sleep(data.get("ms", 0) / 1000)
        except (asyncio.CancelledError, GeneratorExit):
            cancelled["count"] += 1
            raise

    @peer.handler("slow")
    async def slow(data: Dict[str, Any]) -> str:
        try:
            await asyncio.sleep(data["ms"] / 1000)
        except asyncio.CancelledError:
            cancelled["count"] += 1
            raise
        return "done"

    @peer.handler("cancelled")
    def count_cancelled() -> int:
        return cancelled["count"]

    @peer.handler("collect")
    async def collect(values: AsyncIterator[Any]) -> List[Any]:
        return [value async for value in values]

    @peer.handler("running-sum")
    async def running_sum(numbers: AsyncIterator[float]) -> AsyncIterator[float]:
        total: float = 0
        async for number in numbers:
            total += number
            yield total

    @peer.handler("ahead")
    async def ahead(data: Dict[str, Any]) -> AsyncIterator[Any]:
        """Without end, for a reader that is slow: `produced` tells how far ahead of it this got."""
        produced["count"] = 0
        try:
            while True:
                produced["count"] += 1
                yield {"n": produced["count"], "pad": "x" * data["bytes"]}
        except (asyncio.CancelledError, GeneratorExit):
            cancelled["count"] += 1
            raise

    @peer.handler("produced")
    def count_produced() -> int:
        return produced["count"]

    @peer.handler("call-back")
    async def call_back(data: Dict[str, Any]) -> Any:
        return await peer.call(data["service"], data["pattern"], data.get("data"), timeout=data.get("timeout"))

    @peer.handler("emit-back")
    async def emit_back(data: Dict[str, Any]) -> bool:
        await peer.emit(data["service"], data["pattern"], data.get("data"))
        return True

    @peer.event("inter.*")
    async def inter(data: Any, ctx: Context) -> None:
        notes.append([ctx.pattern, data])
        if data == "text":
            raise RpcError("not this one")
        if data == "secret":
            raise ValueError(data)

    @peer.handler("send-event")
    async def send_event(data: Dict[str, Any]) -> Any:
        """Sends an event as `how` says, and tells who has it or what it caught."""
        how, pattern, ack = data["how"], data["pattern"], data.get("ack")
        try:
            if how == "publish":
                return [list(receipt) for receipt in await peer.publish(pattern, data.get("data"), ack=ack)]
            if how == "broadcast":
                return await peer.broadcast(data["service"], pattern, data.get("data"), ack=ack)
            return await peer.emit(data["service"], pattern, data.get("data"), ack=ack)
        except RpcError as error:
            return {"payload": error.payload, "errorId": error.error_id}
        except MeshError as error:
            return {"code": error.code, "delivery": error.delivery}

    @peer.handler("event-counts")
    def event_counts() -> Dict[str, int]:
        return asdict(peer.event_counts)

    @peer.handler("collect-stream")
    async def collect_stream(data: Dict[str, Any]) -> List[Any]:
        """Calls a pattern of `service`, with the list `values` as a stream of input when there is one."""
        if "values" in data:
            return [value async for value in peer.stream(data["service"], data["pattern"], each(data["values"]))]
        return [value async for value in peer.stream(data["service"], data["pattern"], data.get("data"))]

    @peer.handler("channel-back")
    async def channel_back(data: Dict[str, Any]) -> List[Any]:
        """Opens the raw channel `name` of `service`, sends `messages`, ends, and gives back all that came."""
        channel = await peer.open_channel(data["service"], data.get("name"), metadata=data.get("metadata"))
        for message in data["messages"]:
            await channel.send(message)
        await channel.end()
        return [message async for message in channel]

    @peer.handler("mixed")
    async def mixed() -> AsyncIterator[Any]:
        for number in range(12):
            yield "ä" * 500_000 if number % 3 == 0 else number

    @peer.handler("by-packets")
    async def by_packets(data: Dict[str, Any], ctx: Context) -> List[Any]:
        """All values of an answer that comes on the packet channel."""
        assert ctx.session is not None
        packets = await ctx.session.packets(None)
        call = packets.calls.open(data["pattern"], None, None, {})
        try:
            return [value async for value in call]
        finally:
            call.close()

    @peer.handler("reverse")
    async def reverse(data: Dict[str, Any], ctx: Context) -> Any:
        """What the calling node answers, over the session that it has opened: to a call, a stream or a channel."""
        client, pattern = ctx.client, data["pattern"]
        values = each(data["values"]) if "values" in data else data.get("data")
        try:
            if data["how"] == "call":
                return await client.call(pattern, values)
            if data["how"] == "emit":
                return await client.emit(pattern, values, ack="handled")
            if data["how"] == "stream":
                return [value async for value in client.stream(pattern, values)]
            channel = await client.open_channel(pattern, metadata={"x-unit": "ms"}, session_id="s-1")
            async for value in each(data["values"]):
                await channel.send(value)
            await channel.end()
            return [value async for value in channel]
        except MeshError as error:
            return {"code": error.code, "delivery": error.delivery, "message": error.message}

    @peer.event("note")
    def note(data: Any) -> None:
        notes.append(data)

    @peer.handler("events")
    def events() -> List[Any]:
        return notes

    @peer.channel("metadata")
    async def channel_metadata(channel: Channel) -> None:
        await channel.send({"metadata": channel.metadata, "sessionId": channel.session_id})

    async def echo_channel(channel: Channel) -> None:
        async for message in channel:
            await channel.send(message)

    @peer.channel("ask-back")
    async def ask_back(channel: Channel) -> None:
        async for pair in channel:
            await channel.send(await channel.client.call("sum", pair))

    @peer.channel("fails")
    async def failing_channel(channel: Channel) -> None:
        async for data in channel:
            await channel.send("before")
            await fail(data)

    peer.channel("echo")(echo_channel)
    peer.channel()(echo_channel)


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", required=True)
    parser.add_argument("--service", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--worker", metavar="SERVICE", help="open no port, and keep channels to this service")
    parser.add_argument("--max-frame-bytes", type=int, default=4 * 1024 * 1024)
    parser.add_argument("--codec", default="json")
    parser.add_argument("--tls", nargs=3, metavar=("CERT", "KEY", "CA"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    peer = Peer(
        options.service,
        options.registry,
        listen=options.worker is None,
        connect_to=[options.worker] if options.worker else [],
        host=None if options.worker else options.host,
        port=None if options.worker else options.port,
        tls=Tls.from_files(*options.tls) if options.tls else None,
        max_frame_bytes=options.max_frame_bytes,
        codec=options.codec,
    )
    add_handlers(peer)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_event_loop().add_signal_handler(number, stopped.set)
    async with peer:
        print(f"ready {peer.port}", flush=True)
        await stopped.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
