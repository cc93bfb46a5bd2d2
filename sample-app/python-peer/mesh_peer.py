"""The Python half of the walkthrough: registers as `python-peer`, waits for Node, then both send in parallel."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from typing import Any, AsyncIterator, Dict, List, Optional

from nestjs_mesh import Channel, MeshError, Peer, RpcError, healthcheck

SERVICE = "python-peer"
NODE_SERVICE = "node-peer"


def say(line: str) -> None:
    """One line of the walkthrough, at once."""
    print(line, flush=True)


def build_peer(options: argparse.Namespace) -> Peer:
    """The peer with all its handlers."""
    peer = Peer(SERVICE, options.registry, host=options.host, port=options.port, advertise=options.advertise)
    background = set()

    @peer.channel()
    async def talk(channel: Channel) -> None:
        say("Accepted connection from Node.")
        greeting = asyncio.ensure_future(greet(peer))
        sending = asyncio.ensure_future(send_messages(channel, options.messages, options.interval))
        background.update({greeting, sending})
        try:
            async for message in channel:
                text = message.get("text") if isinstance(message, dict) else None
                say(f"Received: {text if isinstance(text, str) else json.dumps(message)}")
            await sending
        finally:
            sending.cancel()
            background.difference_update({greeting, sending})

    @peer.handler("sum")
    def add(data: Dict[str, Any]) -> Any:
        if not isinstance(data, dict) or not all(isinstance(data.get(key), (int, float)) for key in "ab"):
            raise RpcError("sum needs {a: number, b: number}")
        return data["a"] + data["b"]

    @peer.handler("countdown")
    async def countdown(data: Any) -> AsyncIterator[int]:
        start = data.get("from", 3) if isinstance(data, dict) else data
        if not isinstance(start, int) or start < 0:
            raise RpcError("countdown needs a number, or {from: number}, not below 0")
        for number in range(start, -1, -1):
            yield number

    @peer.event("node.greeted")
    def greeted(data: Any) -> None:
        say(f"Event node.greeted: {json.dumps(data, ensure_ascii=False)}")

    return peer


async def send_messages(channel: Channel, count: Optional[int], interval: float) -> None:
    """Sends `count` messages (None: for ever), `interval` seconds apart, then ends this half of the channel."""
    number = 0
    try:
        while count is None or number < count:
            text = f"Message from Python #{number}"
            await channel.send({"text": text})
            say(f"Sent: {text}")
            number += 1
            # Even without a pause the other tasks get their turn between two messages.
            await asyncio.sleep(interval)
        await channel.end()
    except MeshError as error:
        say(f"Stopped sending: {error}")


async def greet(peer: Peer) -> None:
    """Calls the Nest service, and tells it so with an event."""
    try:
        answer = await peer.call(NODE_SERVICE, {"cmd": "greet"}, {"name": "Python"}, timeout=10)
        say(f"Node answered: {json.dumps(answer, ensure_ascii=False)}")
        await peer.emit(NODE_SERVICE, "python.greeted", {"name": "Python"})
    except (MeshError, RpcError) as error:
        say(f"Node was not greeted: {error}")


async def run(options: argparse.Namespace) -> int:
    """Runs the peer until SIGINT or SIGTERM."""
    stopped = asyncio.Event()
    loop = asyncio.get_event_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stopped.set)
        except NotImplementedError:  # Windows: Ctrl-C raises KeyboardInterrupt instead
            pass
    try:
        async with build_peer(options) as peer:
            say(f"Registered as '{SERVICE}' on port {peer.port}. Waiting for Node.")
            await stopped.wait()
            say("Leaving the mesh.")
    except (MeshError, ValueError) as error:
        say(f"Cannot start: {error}")
        return 1
    return 0


def parse_options(arguments: Optional[List[str]] = None) -> argparse.Namespace:
    """Options, with the environment's values as defaults."""
    env = os.environ
    registry = env.get("MESH_REGISTRY") or env.get("REDIS_URL") or "redis://localhost:6379"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", default=registry, help="redis://…, rediss://… or file:DIR [%(default)s]")
    parser.add_argument("--host", default=env.get("MESH_HOST") or "127.0.0.1", help="listen on [%(default)s]")
    parser.add_argument("--port", type=int, default=env.get("MESH_PORT") or "0", help="0: any free one [%(default)s]")
    parser.add_argument("--advertise", default=env.get("MESH_ADVERTISE") or None, help="HOST or HOST:PORT to announce")
    parser.add_argument(
        "--messages", type=int, default=env.get("MESH_MESSAGES") or None, help="how many to send [no end]"
    )
    parser.add_argument(
        "--interval", type=float, default=env.get("MESH_INTERVAL") or "1.0", help="seconds between two [%(default)s]"
    )
    parser.add_argument("--check", action="store_true", help="exit 0 when a peer answers on --port, else 1")
    options = parser.parse_args(arguments)
    if options.interval < 0 or (options.messages is not None and options.messages < 0):
        parser.error("--interval and --messages must not be below 0")
    return options


def main() -> int:
    """The exit code."""
    options = parse_options()
    if options.check:
        host = "127.0.0.1" if options.host in ("0.0.0.0", "::") else options.host
        return healthcheck.main([f"{host}:{options.port}"])
    logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        return asyncio.run(run(options))
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
