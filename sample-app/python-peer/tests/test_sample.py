"""The walkthrough, literally, and what docker-compose asks of the sample."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any, Dict, List

from nestjs_mesh import Peer, RpcError

from .conftest import PACKAGE, RedisServer, eventually, free_port, next_line, run, script


async def output(process: asyncio.subprocess.Process) -> List[str]:
    assert process.stdout is not None
    return (await process.stdout.read()).decode().splitlines()


async def exit_code(*arguments: str) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=PACKAGE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    return await asyncio.wait_for(process.wait(), 15)


def test_the_walkthrough_is_as_it_is_written(registry: str) -> None:
    async def test() -> None:
        node = Peer("node-peer", registry)
        greeted: List[Any] = []
        node.handler({"cmd": "greet"})(lambda data: f"Hello {data['name']}")
        node.event("python.greeted")(greeted.append)
        options = ["--registry", registry, "--messages", "3", "--interval", "0"]
        async with node, script("mesh_peer.py", *options) as process:
            await next_line(process, "Registered as 'python-peer'")
            channel = await node.open_channel("python-peer")
            await next_line(process, "Accepted connection from Node.")
            for number in range(3):
                await channel.send({"text": f"Message from Node #{number}"})
            await channel.end()
            assert [m async for m in channel] == [{"text": f"Message from Python #{n}"} for n in range(3)]
            assert await node.call("python-peer", "sum", {"a": 2, "b": 40}) == 42
            assert [n async for n in node.stream("python-peer", "countdown", 3)] == [3, 2, 1, 0]
            await eventually(lambda: greeted == [{"name": "Python"}])
            await node.emit("python-peer", "node.greeted", {"by": "Nest"})
            await next_line(process, 'Event node.greeted: {"by": "Nest"}')
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 10) == 0

    run(test())


def test_the_lines_of_the_walkthrough_are_printed_exactly(files: str) -> None:
    async def test() -> None:
        async with Peer("node-peer", files) as node:
            options = ["--registry", files, "--messages", "2", "--interval", "0.01"]
            async with script("mesh_peer.py", *options) as process:
                await next_line(process, "Registered as 'python-peer'")
                channel = await node.open_channel("python-peer")
                for number in range(2):
                    await channel.send({"text": f"Message from Node #{number}"})
                await channel.end()
                assert len([message async for message in channel]) == 2
                process.send_signal(signal.SIGINT)
                lines = await output(process)
        for number in range(2):
            assert f"Received: Message from Node #{number}" in lines
            assert f"Sent: Message from Python #{number}" in lines
        assert lines[0] == "Accepted connection from Node."

    run(test())


def test_bad_data_for_the_samples_handlers_is_told_to_the_caller(files: str) -> None:
    async def test() -> None:
        async with Peer("node-peer", files) as node, script("mesh_peer.py", "--registry", files) as process:
            await next_line(process, "Registered")
            for pattern in ("sum", "countdown"):
                try:
                    [value async for value in node.stream("python-peer", pattern, {"a": "x"})]
                except RpcError as error:
                    assert pattern in error.payload["message"]

    run(test())


def test_the_sample_reads_its_environment_and_its_health_check_tells_the_truth(redis_server: RedisServer) -> None:
    async def test() -> None:
        port = str(free_port())
        os.environ.update({"REDIS_URL": redis_server.url, "MESH_PORT": port, "MESH_ADVERTISE": "python-peer"})
        try:
            assert await exit_code("mesh_peer.py", "--check") == 1
            assert await exit_code("-m", "nestjs_mesh.healthcheck") == 1
            async with script("mesh_peer.py") as process:
                assert port in await next_line(process, "Registered")
                assert await exit_code("mesh_peer.py", "--check") == 0
                assert await exit_code("-m", "nestjs_mesh.healthcheck", f"127.0.0.1:{port}") == 0
        finally:
            for name in ("REDIS_URL", "MESH_PORT", "MESH_ADVERTISE"):
                del os.environ[name]

    run(test())


def test_a_registry_that_is_away_ends_the_sample_with_the_reason() -> None:
    async def test() -> None:
        async with script("mesh_peer.py", "--registry", f"redis://127.0.0.1:{free_port()}") as process:
            lines = await output(process)
            assert await process.wait() == 1
            assert "Cannot start: [UNAVAILABLE] cannot use the registry" in lines[0]

    run(test())


def test_a_peer_of_part_1_and_the_sample_talk_both_ways(redis_server: RedisServer) -> None:
    async def test() -> None:
        options = ["--registry", redis_server.url]
        async with script("mesh_peer.py", *options, "--messages", "2", "--interval", "0") as python:
            await next_line(python, "Registered")
            dial = ["--service", "old", "--dial", "python-peer", "--messages", "2"]
            async with script("tests/part1_peer.py", *options, *dial) as old:
                lines = await output(old)
            assert lines[0] == "status 200"
            frames = [json.loads(line[6:]) for line in lines if line.startswith("frame ")]
            assert frames == [{"text": "Message from Python #0"}, {"text": "Message from Python #1"}]
            await next_line(python, "Received: Message from Part1 #1")

    run(test())


def test_a_call_to_a_peer_of_part_1_sends_it_nothing_of_part_2(redis_server: RedisServer) -> None:
    async def test() -> None:
        options = ["--registry", redis_server.url, "--service", "old"]
        async with script("tests/part1_peer.py", *options) as old, Peer("new", redis_server.url) as new:
            await next_line(old, "ready")
            assert await new.call("old", "echo", {"x": 1}) == {"x": 1}
            frame: Dict[str, Any] = json.loads((await next_line(old, "frame "))[6:])
            assert frame == {"id": 1, "pattern": "echo", "data": {"x": 1}}
            channel = await new.open_channel("old")
            await channel.send({"text": "hi"})
            assert await channel.__anext__() == {"text": "hi"}
            await channel.end()
            assert [message async for message in channel] == []

    run(test())
