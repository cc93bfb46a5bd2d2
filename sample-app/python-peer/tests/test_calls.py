"""Calls, streams and events between two peers, both ways."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, AsyncIterator, Dict, List

import pytest

from nestjs_mesh import Context, MeshError, Peer, RpcError

from .conftest import eventually, run


@contextlib.asynccontextmanager
async def pair(registry: str, **options: Any) -> AsyncIterator[Any]:
    """Two started peers, `a` with handlers."""
    a, b = Peer("service-a", registry, **options), Peer("service-b", registry, **options)
    state: Dict[str, Any] = {"cancelled": 0, "events": [], "produced": 0}

    @a.handler({"cmd": "sum"})
    async def add(data: Dict[str, int]) -> int:
        return data["a"] + data["b"]

    @a.handler("echo")
    def echo(data: Any) -> Any:
        return data

    @a.handler("context")
    def context(data: Any, ctx: Context) -> Dict[str, Any]:
        left = ctx.remaining()
        return {"pattern": ctx.pattern, "from": ctx.peer.service, "metadata": ctx.metadata, "left": left}

    @a.handler("count")
    async def count(data: int) -> AsyncIterator[int]:
        try:
            for number in range(data):
                state["produced"] += 1
                yield number
                await asyncio.sleep(0)
        finally:
            state["cancelled"] += state["produced"] < data

    @a.handler("slow")
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            state["cancelled"] += 1
            raise

    @a.handler("fail")
    async def fail(kind: str) -> Any:
        if kind == "rpc":
            raise RpcError({"code": 7, "why": "because"})
        if kind == "text":
            raise RpcError("boom")
        if kind == "mesh":
            raise RpcError(MeshError("NOT_FOUND", "no such order", details={"order": 1}, delivery="refused"))
        if kind == "inner mesh":
            raise MeshError("NOT_FOUND", "secret")
        if kind == "value":
            raise ValueError("secret")
        return {"a set": {1}}

    @a.handler("fail-midway")
    async def fail_midway() -> AsyncIterator[int]:
        yield 1
        raise RpcError("midway")

    @a.event("note")
    def note(data: Any) -> None:
        state["events"].append(data)

    @a.event("note")
    async def broken_note(data: Any) -> None:
        raise ValueError("this handler is broken")

    @b.handler("who")
    def who() -> str:
        return "b"

    @a.handler("call-back")
    async def call_back() -> Any:
        return await a.call("service-b", "who")

    async with a, b:
        yield a, b, state


def test_values_streams_events_and_reverse_calls_work(registry: str) -> None:
    async def test() -> None:
        async with pair(registry) as (_, b, state):
            assert await b.call("service-a", {"cmd": "sum"}, {"a": 2, "b": 40}) == 42
            assert await b.call("service-a", '{"cmd":"sum"}', {"a": 1, "b": 1}) == 2
            assert await b.call("service-a", "echo", {"text": "né 🚀"}) == {"text": "né 🚀"}
            assert await b.call("service-a", "echo") is None
            assert [value async for value in b.stream("service-a", "count", 1000)] == list(range(1000))
            assert await b.call("service-a", "call-back") == "b"
            await b.emit("service-a", "note", {"n": 1})
            await eventually(lambda: state["events"] == [{"n": 1}])

    run(test())


def test_a_reverse_call_uses_the_connection_that_is_there(files: str) -> None:
    async def test() -> None:
        async with pair(files) as (a, b, _):
            await b.call("service-a", "call-back")
            assert len(a._router.sessions) == len(b._router.sessions) == 1

    run(test())


def test_the_context_says_who_calls_with_what_metadata_and_how_long_it_waits(files: str) -> None:
    async def test() -> None:
        async with pair(files) as (_, b, _state):
            context = await b.call("service-a", "context", timeout=5, metadata={"trace": "x"})
            left = context.pop("left")
            assert 0 < left <= 5
            assert context == {"pattern": "context", "from": "service-b", "metadata": {"trace": "x"}}

    run(test())


def test_errors_arrive_as_nest_sends_them(files: str) -> None:
    async def test() -> None:
        async with pair(files) as (_, b, _state):
            expected: Dict[str, Any] = {
                "rpc": {"code": 7, "why": "because"},
                "text": {"status": "error", "message": "boom"},
                "value": {"status": "error", "message": "Internal server error"},
                "inner mesh": {"status": "error", "message": "Internal server error"},
                "not json": {"status": "error", "message": "Internal server error"},
            }
            for kind, payload in expected.items():
                with pytest.raises(RpcError) as caught:
                    await b.call("service-a", "fail", kind)
                assert caught.value.payload == payload
            with pytest.raises(MeshError) as failed:
                await b.call("service-a", "fail", "mesh")
            found = failed.value.code, failed.value.details, failed.value.delivery
            assert found == ("NOT_FOUND", {"order": 1}, "unknown")
            with pytest.raises(RpcError) as unknown:
                await b.call("service-a", "nobody")
            assert unknown.value.payload == "There is no matching message handler defined in the remote service."
            values: List[Any] = []
            with pytest.raises(RpcError):
                async for value in b.stream("service-a", "fail-midway"):
                    values.append(value)
            assert values == [1]

    run(test())


def test_leaving_a_stream_cancels_its_generator(files: str) -> None:
    async def test() -> None:
        async with pair(files) as (_, b, state):
            values = b.stream("service-a", "count", 10_000_000)
            assert await values.__anext__() == 0
            await values.aclose()
            await eventually(lambda: state["cancelled"] == 1)

    run(test())


def test_timeouts_and_cancelled_calls_cancel_the_handler(files: str) -> None:
    async def test() -> None:
        async with pair(files) as (a, b, state):
            with pytest.raises(MeshError, match="DEADLINE_EXCEEDED"):
                await b.call("service-a", "slow", timeout=0.2)
            await eventually(lambda: state["cancelled"] == 1)

            def busy() -> bool:
                return any(p.busy for s in a._router.sessions for p in s.packet_channels)

            await eventually(lambda: not busy())
            task = asyncio.ensure_future(b.call("service-a", "slow"))
            await eventually(busy)
            task.cancel()
            await eventually(lambda: state["cancelled"] == 2)

    run(test())


def test_data_that_cannot_be_sent_fails_before_it_is_sent(files: str) -> None:
    async def test() -> None:
        async with pair(files, max_frame_bytes=2048) as (_, b, _state):
            for data, code in ((object(), "INVALID_ARGUMENT"), ("x" * 3000, "RESOURCE_EXHAUSTED")):
                with pytest.raises(MeshError, match=code) as caught:
                    await b.call("service-a", "echo", data)
                assert caught.value.delivery == "not-sent"
            with pytest.raises(ValueError, match="metadata"):
                await b.call("service-a", "echo", metadata={"n": 1})
            assert await b.call("service-a", "echo", "still here") == "still here"

    run(test())


def test_an_answer_over_the_limit_fails_that_call_only(files: str) -> None:
    async def test() -> None:
        big, small = Peer("big", files), Peer("small", files, max_frame_bytes=2048)

        @big.handler("answer")
        def answer(size: int) -> str:
            return "x" * size

        @small.handler("take")
        def take(data: Any) -> int:
            return len(data)

        async with big, small:
            with pytest.raises(MeshError, match="max_frame_bytes"):
                await small.call("big", "answer", 20_000)
            with pytest.raises(MeshError, match="max_frame_bytes") as caught:
                await big.call("small", "take", "x" * 10_000)
            assert caught.value.delivery == "refused"
            assert await small.call("big", "answer", 3) == "xxx"
            assert await big.call("small", "take", "xx") == 2

    run(test())


def test_calls_take_turns_over_the_nodes_of_a_service(files: str) -> None:
    async def test() -> None:
        nodes = [Peer("many", files) for _ in range(3)]
        for node in nodes:
            node.handler("id")(lambda data, node=node: node.node_id)
        async with nodes[0], nodes[1], nodes[2], Peer("caller", files) as caller:
            await caller.call("many", "id")
            answers = [await caller.call("many", "id") for _ in range(6)]
            assert sorted(answers) == sorted([node.node_id for node in nodes] * 2)

    run(test())


def test_a_call_waits_for_a_service_that_is_not_there_yet(registry: str) -> None:
    async def test() -> None:
        late = Peer("late", registry)
        late.handler("hi")(lambda: "hello")
        async with Peer("caller", registry) as caller:
            with pytest.raises(MeshError, match=r"'late'.*the registry names no node") as caught:
                await caller.call("late", "hi", timeout=0.3)
            assert (caught.value.code, caught.value.delivery) == ("UNAVAILABLE", "not-sent")
            call = asyncio.ensure_future(caller.call("late", "hi"))
            async with late:
                assert await call == "hello"

    run(test())


def test_a_second_handler_of_one_pattern_is_refused(files: str) -> None:
    peer = Peer("twice", files)
    peer.handler({"cmd": "a"})(lambda: 1)
    with pytest.raises(ValueError, match="already has a handler"):
        peer.handler('{"cmd":"a"}')(lambda: 2)
