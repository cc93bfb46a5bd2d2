"""What a handler allows: how long a call may take, and how many there may be at a time."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Dict, List

import pytest

from nestjs_mesh import Context, MeshError, Peer

from .conftest import eventually, run


@pytest.mark.parametrize(
    "options, fault",
    [
        ({"timeout": -1}, "timeout of x must be in seconds"),
        ({"timeout": "1"}, "timeout of x must be in seconds"),
        ({"timeout": True}, "timeout of x must be in seconds"),
        ({"timeout": float("nan")}, "timeout of x must be in seconds"),
        ({"idempotent": 1}, "idempotent of x must be True or False"),
        ({"max_concurrency": 0}, "max_concurrency of x must be a whole number"),
        ({"max_concurrency": 1.0}, "max_concurrency of x must be a whole number"),
        ({"max_concurrency": True}, "max_concurrency of x must be a whole number"),
    ],
)
def test_an_option_that_cannot_be_is_refused_with_its_name(options: Dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Peer("a", "file:x").handler("x", **options)


def test_a_second_handler_of_one_pattern_is_refused() -> None:
    peer = Peer("a", "file:x")
    peer.handler({"cmd": "sum"})(print)
    with pytest.raises(ValueError, match="already has a handler"):
        peer.handler('{"cmd":"sum"}')(len)


def test_a_handler_is_given_no_more_time_than_it_allows_itself(files: str) -> None:
    async def test() -> None:
        a, b = Peer("a", files), Peer("b", files)
        ends: List[str] = []

        @a.handler("slow", timeout=0.3)
        async def slow(data: Any, ctx: Context) -> None:
            left = ctx.remaining()
            assert left is not None and left <= 0.3
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise

        @a.handler("left", timeout=60)
        async def left(data: Any, ctx: Context) -> Any:
            return ctx.remaining()

        async with a, b:
            for timeout in (0, 10):
                with pytest.raises(MeshError, match="DEADLINE_EXCEEDED"):
                    await b.call("a", "slow", timeout=timeout)
            await eventually(lambda: ends == ["cancelled"] * 2)
            assert await b.call("a", "left", timeout=5) <= 5

    run(test())


def test_calls_beyond_max_concurrency_are_refused_until_a_handler_has_ended(files: str) -> None:
    async def test() -> None:
        a, b = Peer("a", files), Peer("b", files)
        go = asyncio.Event()
        running: List[int] = []

        @a.handler("wait", max_concurrency=2)
        async def wait(data: int) -> int:
            running.append(data)
            try:
                await go.wait()
            except asyncio.CancelledError:
                await go.wait()  # works on for nobody
                raise
            return data

        @a.handler("values", max_concurrency=1)
        async def values() -> AsyncIterator[int]:
            yield 1
            await go.wait()
            yield 2

        @a.handler("plain", max_concurrency=1)
        def plain(data: Any) -> Any:
            if data == "bad":
                raise ValueError(data)
            return data

        async with a, b:
            first, second = (asyncio.ensure_future(b.call("a", "wait", n)) for n in (1, 2))
            await eventually(lambda: len(running) == 2)
            with pytest.raises(MeshError, match=r"2 calls under way.*max_concurrency") as caught:
                await b.call("a", "wait", 3)
            assert (caught.value.code, caught.value.delivery) == ("RESOURCE_EXHAUSTED", "refused")
            first.cancel()
            stream = b.stream("a", "values")
            assert await stream.__anext__() == 1
            for pattern in ("wait", "values"):  # a handler counts until it has ended
                with pytest.raises(MeshError, match="RESOURCE_EXHAUSTED"):
                    await b.call("a", pattern, 4)
            go.set()
            assert await second == 2
            assert await stream.__anext__() == 2
            with pytest.raises(StopAsyncIteration):
                await stream.__anext__()
            assert await b.call("a", "wait", 5) == 5
            for data in ("bad", 1, "bad", 2):
                try:
                    assert await b.call("a", "plain", data) == data
                except Exception:
                    assert data == "bad"

    run(test())
