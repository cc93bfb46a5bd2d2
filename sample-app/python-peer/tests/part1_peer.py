"""A peer that knows only part 1 of the protocol, written without the package, for tests of the others' good manners.

Serves: prints `ready <port>` and each frame as `frame JSON`, sends it back, answers `{pattern: "echo", data, id}`.
With --dial TARGET it finds that service by SCAN, opens a channel, sends N messages, ends, and prints what came back.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import signal
import uuid
from typing import Any, Dict

import h2.config
import h2.connection
import h2.events
import redis.asyncio

say = functools.partial(print, flush=True)


class Part1(asyncio.Protocol):
    """One connection. Small messages and default windows, as a first implementation would have it."""

    def __init__(self, service: str, dialled: bool, messages: int, done: asyncio.Event) -> None:
        self.service, self.dialled, self.messages = service, dialled, messages
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=dialled, header_encoding="utf-8"))
        self.buffers: Dict[int, bytes] = {}
        self.waiting: Dict[int, bytes] = {}
        self.ended: Dict[int, bool] = {}
        self.done = done

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.h2.initiate_connection()
        if self.dialled:
            headers = [(":method", "POST"), (":scheme", "http"), (":authority", "mesh"), (":path", "/channel")]
            self.h2.send_headers(1, [*headers, ("x-service-name", self.service)])
            self.buffers[1] = b""
            for number in range(self.messages):
                self.send(1, {"text": f"Message from Part1 #{number}"})
            self.ended[1] = False
        self.flush()

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                headers = {str(key): str(value) for key, value in event.headers}
                say("headers", json.dumps(sorted(headers)))
                self.buffers[event.stream_id] = b""
                ok = headers[":method"] == "POST" and headers[":path"] == "/channel" and "x-service-name" in headers
                self.h2.send_headers(event.stream_id, [(":status", "200" if ok else "400")], end_stream=not ok)
            elif isinstance(event, h2.events.ResponseReceived):
                say("status", *(value for key, value in event.headers if str(key) == ":status"))
            elif isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.read(event.stream_id, event.data)
            elif isinstance(event, h2.events.StreamEnded):
                say("end")
                self.ended.setdefault(event.stream_id, False)
                self.done.set()
        self.flush()

    def connection_lost(self, exc: Any) -> None:
        self.done.set()

    def read(self, stream: int, data: bytes) -> None:
        self.buffers[stream] += data
        while len(self.buffers[stream]) >= 4:
            end = 4 + int.from_bytes(self.buffers[stream][:4], "big")
            if len(self.buffers[stream]) < end:
                return
            message = json.loads(self.buffers[stream][4:end])
            self.buffers[stream] = self.buffers[stream][end:]
            say("frame", json.dumps(message))
            if isinstance(message, dict) and "pattern" in message and "id" in message:
                if message["pattern"] == "echo":
                    self.send(stream, {"response": message.get("data"), "isDisposed": True, "id": message["id"]})
            elif not self.dialled:
                self.send(stream, message)

    def send(self, stream: int, message: Any) -> None:
        payload = json.dumps(message).encode()
        self.waiting[stream] = self.waiting.get(stream, b"") + len(payload).to_bytes(4, "big") + payload

    def flush(self) -> None:
        for stream, data in list(self.waiting.items()):
            room = self.h2.max_outbound_frame_size
            while size := max(0, min(len(data), self.h2.local_flow_control_window(stream), room)):
                self.h2.send_data(stream, data[:size])
                data = data[size:]
            self.waiting[stream] = data
        for stream, sent in self.ended.items():
            if not sent and not self.waiting.get(stream):
                self.h2.end_stream(stream)
                self.ended[stream] = True
        self.transport.write(self.h2.data_to_send())


async def find(registry: Any, target: str) -> Dict[str, Any]:
    while True:
        async for key in registry.scan_iter(f"mesh:service:{target}:*"):
            value = await registry.get(key)
            if value:
                return dict(json.loads(value))
        await asyncio.sleep(0.2)  # part 1 has no hints: it looks again until the service is there


async def serve(options: argparse.Namespace, registry: Any, stopped: asyncio.Event) -> None:
    loop = asyncio.get_event_loop()
    server = await loop.create_server(lambda: Part1(options.service, False, 0, asyncio.Event()), "127.0.0.1", 0)
    port, node_id = server.sockets[0].getsockname()[1], str(uuid.uuid4())
    key = f"mesh:service:{options.service}:{node_id}"
    record = {"id": node_id, "service_name": options.service, "host": "127.0.0.1", "port": port}
    await registry.set(key, json.dumps(record), ex=10)
    say("ready", port)
    stop = asyncio.ensure_future(stopped.wait())
    while not stop.done():
        await asyncio.wait({stop}, timeout=2)
        await registry.set(key, json.dumps(record), ex=10)
    await registry.delete(key)
    server.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", required=True)
    parser.add_argument("--service", required=True)
    parser.add_argument("--dial", metavar="TARGET")
    parser.add_argument("--messages", type=int, default=3)
    options, stopped = parser.parse_args(), asyncio.Event()
    registry: Any = redis.asyncio.Redis.from_url(options.registry)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_event_loop().add_signal_handler(number, stopped.set)
    if options.dial:
        node = await find(registry, options.dial)
        peer = Part1(options.service, True, options.messages, stopped)
        await asyncio.get_event_loop().create_connection(lambda: peer, node["host"], node["port"])
        await stopped.wait()
    else:
        await serve(options, registry, stopped)
    await getattr(registry, "aclose", registry.close)()


if __name__ == "__main__":
    asyncio.run(main())
