"""A node for `npm run chaos` that writes down each call that its handlers are given, at once: that outlives a SIGKILL.

Prints `ready` once it is announced and `usage {...}` on SIGUSR2; SIGTERM drains it; it ends with its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import signal
import sys
import time
from typing import Any, AsyncIterator, Dict

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from nestjs_mesh import Peer


def add_handlers(peer: Peer, name: str, ledger: int, work: float) -> None:
    """The handlers of test/chaos/programs/node.ts."""

    def note(kind: str, id: str) -> None:
        os.write(ledger, f"{kind} {id} {int(time.time() * 1000)}\n".encode())

    async def answer(kind: str, data: Dict[str, Any]) -> Dict[str, Any]:
        note(kind, data["id"])
        await asyncio.sleep(work)
        return {"id": data["id"], "twice": 2 * data["n"], "node": name}

    @peer.handler("work")
    async def once(data: Dict[str, Any]) -> Dict[str, Any]:
        return await answer("work", data)

    @peer.handler("read", idempotent=True)
    async def read(data: Dict[str, Any]) -> Dict[str, Any]:
        return await answer("read", data)

    @peer.handler("stream", idempotent=True)
    async def stream(data: Dict[str, Any]) -> AsyncIterator[Any]:
        note("stream", data["id"])
        for item in range(5):
            await asyncio.sleep(work)
            yield {"id": data["id"], "twice": 2 * data["n"], "item": item, "node": name}

    @peer.event("acked")
    async def acked(data: Dict[str, Any]) -> None:
        await asyncio.sleep(work)
        note("acked", data["id"])

    @peer.event("event")
    def event(data: Dict[str, Any]) -> None:
        note("event", data["id"])


def tell_usage() -> None:
    """What the process holds."""
    gc.collect()
    held = len(gc.get_objects())
    usage = {"heapBytes": 0, "handles": len(os.listdir("/proc/self/fd")), "held": held}
    print(f"usage {json.dumps(usage)}", flush=True)


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for required in ("--registry", "--service", "--name", "--ledger"):
        parser.add_argument(required, required=True)
    parser.add_argument("--work-ms", type=float, default=5)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    ledger = os.open(options.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    peer = Peer(options.service, options.registry)
    add_handlers(peer, options.name, ledger, options.work_ms / 1000)
    stopped = asyncio.Event()
    loop = asyncio.get_event_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_signal_handler(signal.SIGUSR2, tell_usage)
    loop.add_reader(0, lambda: None if os.read(0, 1024) else os._exit(0))
    async with peer:
        print("ready", flush=True)
        await stopped.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
