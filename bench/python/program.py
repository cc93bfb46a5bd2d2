"""The program of a side that is written in Python: reads one JSON command a line, writes one reply a line.

The commands are those of src/program/protocol.ts.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
import traceback
from typing import Any, Awaitable, Callable, Dict, Generic, Tuple, TypeVar

#: A message as a side sends it.
M = TypeVar("M")
Json = Any

#: How many calls are compared before a case is measured.
CHECKED_CALLS = 128
CHECKED_ITEMS = 300
#: A client that is never made to wait lets the others work after so many events.
EMITTERS = 128
ITEM_TEXT = "abcdefghij" * 7
ITEM_BYTES = 64


class Side(Generic[M]):
    """Server or client of one peer. What it cannot do it leaves as it is here."""

    #: Events that have come, and when the last one did (in ms of the monotonic clock).
    events = 0
    last_at = 0.0

    async def serve(self, around: Dict[str, Any]) -> Json:
        """Becomes a server; the address that its clients need."""
        raise NotImplementedError("this side cannot serve")

    async def connect(self, around: Dict[str, Any]) -> None:
        """Becomes a client."""
        raise NotImplementedError("this side cannot be a client")

    async def close(self) -> None:
        """Releases everything."""

    def message(self, message_id: int, text: str) -> M:
        """A message as it is sent."""
        raise NotImplementedError

    def content(self, message: M) -> Tuple[int, str]:
        """What is in a message."""
        raise NotImplementedError

    async def call(self, message: M) -> M:
        """Calls `echo`."""
        raise NotImplementedError("this side cannot call")

    async def emit(self, message: M) -> None:
        """Emits `seen`."""
        raise NotImplementedError("this side has no events")

    async def stream(self, count: int) -> int:
        """Calls `items`; the sum of their `n`."""
        raise NotImplementedError("this side cannot stream")

    def count_event(self) -> None:
        """An event has come."""
        self.events += 1
        self.last_at = time.monotonic() * 1000


def item_text(n: int) -> str:
    """What makes the n-th item of a stream 64 bytes long as JSON."""
    return ITEM_TEXT[: ITEM_BYTES - len('{"n":,"text":""}') - len(str(n))]


def message_text(size: int, message_id: int = 0) -> str:
    """What makes a message exactly `size` bytes long as JSON."""
    empty = len(json.dumps({"id": message_id, "text": ""}, separators=(",", ":")))
    return ("abcdefghij" * (size // 10 + 1))[: size - empty]


def run(side: Side[Any]) -> None:
    """Answers commands until the input ends."""
    asyncio.run(_Program(side).run())


class _Program:
    def __init__(self, side: Side[Any]) -> None:
        self._side = side
        self._commands: Dict[str, Callable[[Any], Awaitable[Json]]] = {
            "serve": side.serve,
            "connect": side.connect,
            "check": self._check,
            "drive": self._drive,
            "usage": self._usage,
            "received": self._received,
            "stop": self._stop,
        }

    async def run(self) -> None:
        loop = asyncio.get_event_loop()
        lines = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while True:
            line = await lines.readline()
            if not line:
                return
            command = json.loads(line)
            reply: Dict[str, Any] = {"id": command["id"]}
            try:
                reply["result"] = await self._commands[command["command"]](command["args"])
            except Exception:
                reply["error"] = traceback.format_exc()
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()
            if command["command"] == "stop":
                return

    async def _check(self, args: Dict[str, Any]) -> None:
        side = self._side
        sent = [(n, message_text(100, n)) for n in range(CHECKED_CALLS)]
        answers = await asyncio.gather(*(side.call(side.message(*content)) for content in sent))
        for content, answer in zip(sent, answers):
            if side.content(answer) != content:
                raise ValueError(f"the call {content} has the answer {side.content(answer)}")
        total = await side.stream(CHECKED_ITEMS)
        if total != _sum_to(CHECKED_ITEMS):
            raise ValueError(f"{CHECKED_ITEMS} items have the sum {total}")

    async def _drive(self, args: Dict[str, Any]) -> Json:
        work, window = args["args"], args["windowMs"] / 1000
        started_at = time.monotonic()
        end = started_at + window
        count = await {"calls": self._calls, "events": self._events, "stream": self._streams}[work["work"]](work, end)
        elapsed = time.monotonic() - started_at
        return {"count": count, "elapsedMs": elapsed * 1000, "startedAtMs": started_at * 1000}

    async def _calls(self, work: Dict[str, Any], end: float) -> int:
        call, now, count = self._side.call, time.monotonic, 0
        message = self._side.message(0, message_text(work["bytes"]))

        async def chain() -> None:
            nonlocal count
            while now() < end:
                await call(message)
                count += 1

        await asyncio.gather(*(chain() for _ in range(work["inFlight"])))
        return count

    async def _events(self, work: Dict[str, Any], end: float) -> int:
        emit, now, count = self._side.emit, time.monotonic, 0
        message = self._side.message(0, message_text(work["bytes"]))

        async def chain() -> None:
            nonlocal count
            while now() < end:
                await emit(message)
                count += 1
                if count % EMITTERS == 0:
                    await asyncio.sleep(0)

        await asyncio.gather(*(chain() for _ in range(EMITTERS)))
        return count

    async def _streams(self, work: Dict[str, Any], end: float) -> int:
        count, items = 0, work["items"]
        while time.monotonic() < end:
            if await self._side.stream(items) != _sum_to(items):
                raise ValueError(f"a stream of {items} items was not whole")
            count += items
        return count

    async def _usage(self, args: Any) -> Json:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {"cpuUs": (used.ru_utime + used.ru_stime) * 1e6, "rssBytes": _resident_bytes(), "heapBytes": 0}

    async def _received(self, args: Any) -> Json:
        return {"events": self._side.events, "lastAtMs": self._side.last_at}

    async def _stop(self, args: Any) -> None:
        await self._side.close()


def _sum_to(count: int) -> int:
    return count * (count - 1) // 2


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:  # not on Linux: the most that it ever was
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size if sys.platform == "darwin" else size * 1024
