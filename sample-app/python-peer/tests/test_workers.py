"""Nodes that open no port: called by name over the channels that they keep."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, AsyncIterator, List

import pytest

from nestjs_mesh import Channel, Context, MeshError, Peer

from .conftest import eventually, run
from .raw_end import dialled, dialler, nothing_is_left


def worker(registry: str, name: str = "one", **options: Any) -> Peer:
    peer = Peer("worker", registry, listen=False, connect_to=["gateway"], **options)
    peer.handler("name")(lambda: name)
    notes: List[Any] = []
    peer.event("note")(notes.append)
    peer.handler("notes")(lambda: notes)

    @peer.handler("count")
    async def count(to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    @peer.handler("collect")
    async def collect(values: AsyncIterator[Any]) -> List[Any]:
        return [value async for value in values]

    @peer.handler("slow")
    async def slow(seconds: float, ctx: Context) -> Any:
        await asyncio.sleep(seconds)
        return await ctx.client.call("gateway's")

    @peer.channel("echo")
    async def echo(channel: Channel) -> None:
        async for message in channel:
            await channel.send(message)

    return peer


def gateway(registry: str) -> Peer:
    peer = Peer("gateway", registry)
    peer.handler("gateway's")(lambda: "answered")
    return peer


async def each(*values: Any) -> AsyncIterator[Any]:
    for value in values:
        yield value


def test_a_worker_without_a_port_is_called_by_its_name_in_every_way(registry: str) -> None:
    async def test() -> None:
        async with gateway(registry) as caller, worker(registry) as peer:
            assert peer._server is None and peer.port == 0
            assert await caller.call("worker", "name", timeout=5) == "one"  # waits until it has connected
            assert [value async for value in caller.stream("worker", "count", 3)] == [0, 1, 2]
            assert await caller.call("worker", "collect", each(1, 2)) == [1, 2]
            assert await caller.call("worker", "collect", each("x" * 1_000_000)) == ["x" * 1_000_000]
            await caller.emit("worker", "note", 1, ack="handled")
            assert await caller.broadcast("worker", "note", 2, ack="handled") == [peer.node_id]
            assert await caller.call("worker", "notes") == [1, 2]
            channel = await caller.open_channel("worker", "echo")
            await channel.send("hi")
            await channel.end()
            assert [message async for message in channel] == ["hi"]
            assert await peer.call("gateway", "gateway's") == "answered"
            assert len(caller._router.sessions) == len(peer._router.sessions) == 1
            await nothing_is_left(caller, peer)

    run(test())


def test_workers_take_turns_and_one_that_leaves_is_called_no_more(files: str) -> None:
    async def test() -> None:
        async with gateway(files) as caller:
            first, second = worker(files, "one"), worker(files, "two")
            async with second:
                await first.start()
                await eventually(lambda: len(caller._router._all(caller._router._view("worker"))) == 2)
                names = {await caller.call("worker", "name") for _ in range(4)}
                assert names == {"one", "two"}
                slow = [asyncio.ensure_future(caller.call("worker", "slow", 0.3)) for _ in range(2)]
                await eventually(lambda: any(p.busy for s in first._router.sessions for p in s.packet_channels))
                closing = asyncio.ensure_future(first.close())
                await asyncio.sleep(0)
                assert await asyncio.gather(*slow) == ["answered", "answered"]  # also the one in the leaving worker
                await closing
                assert {await caller.call("worker", "name") for _ in range(4)} == {"two"}
            with pytest.raises(MeshError, match="no node of 'worker'"):
                await caller.call("worker", "name", timeout=0.2)
            await nothing_is_left(caller)

    run(test())


def test_no_call_is_lost_while_workers_come_and_go(files: str) -> None:
    async def test() -> None:
        stopped, done = asyncio.Event(), 0
        async with gateway(files) as caller, worker(files, "stays"):

            async def load() -> None:
                nonlocal done
                while not stopped.is_set():
                    await caller.call("worker", "name", timeout=10)
                    done += 1

            load_tasks = [asyncio.ensure_future(load()) for _ in range(10)]
            for number in range(3):
                async with worker(files, f"short {number}"):
                    target = done + 50
                    await eventually(lambda target=target: done >= target)  # type: ignore[misc]
            stopped.set()
            await asyncio.gather(*load_tasks)
            assert done > 100

    run(test())


def test_a_worker_connects_again_to_a_gateway_that_comes_back_and_to_new_ones(files: str) -> None:
    async def test() -> None:
        async with worker(files) as peer:
            for _ in range(2):  # it started before the first
                async with gateway(files) as caller, gateway(files) as other:
                    for each_one in (caller, other):
                        assert await each_one.call("worker", "name", timeout=10) == "one"
                    for session in list(caller._router.sessions):
                        session.connection.fail(MeshError("UNAVAILABLE", "cut"))
                    assert await caller.call("worker", "name", timeout=10) == "one"
            (keeping,) = peer._router._keeping
            await eventually(lambda: not keeping._nodes)
            await nothing_is_left(peer)
        assert peer._router._keeping == []

    run(test())


def test_a_node_that_only_calls_is_no_node_of_its_service(files: str) -> None:
    async def test() -> None:
        async with gateway(files) as caller, dialler(caller) as end:
            end.send(1, {"id": 1, "pattern": "gateway's"})
            await end.packet(1, 0)
            with pytest.raises(MeshError, match="no node of 'raw'"):
                await caller.call("raw", "x", timeout=0.2)
            serving = end.request({"x-mesh-listen": "false"})
            call = asyncio.ensure_future(caller.call("raw", "x"))
            request = await end.packet(serving, 0)
            end.send(serving, {"drain": True})
            end.send(serving, {"id": request["id"], "response": 7, "isDisposed": True})
            assert await call == 7
            await eventually(lambda: end.streams[serving].ended)  # it says that nothing more is on its way
            with pytest.raises(MeshError, match="no node of 'raw'"):
                await caller.call("raw", "x", timeout=0.2)

    run(test())


def test_it_says_so_only_while_it_serves(files: str) -> None:
    async def test() -> None:
        peer = Peer("worker", files, listen=False)
        with contextlib.suppress(MeshError):
            await peer.start()
        async with dialled(files, peer) as end:
            assert end.streams[1].headers["x-mesh-listen"] == "false"
        await peer.close()
        async with Peer("a", files) as listening, dialled(files, listening) as end:
            assert "x-mesh-listen" not in end.streams[1].headers

    run(test())


def test_warm_connections_of_a_node_that_listens(files: str) -> None:
    async def test() -> None:
        async with gateway(files), Peer("a", files, connect_to=["gateway"]) as peer:
            await eventually(lambda: any(s.usable_packets for s in peer._router.sessions))
            assert await peer.call("gateway", "gateway's") == "answered"

    run(test())


@pytest.mark.parametrize(
    "options, named",
    [
        ({"host": "127.0.0.1"}, "host='127.0.0.1'"),
        ({"port": 0}, "port=0"),
        ({"advertise": "x", "port": 7}, "port=7, advertise='x'"),
        ({"connect_to": "gateway"}, "connect_to"),
        ({"connect_to": ["no name"]}, "no name"),
    ],
)
def test_options_that_contradict_each_other_are_named(options: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Peer("worker", "file:x", **{"listen": False, **options})
