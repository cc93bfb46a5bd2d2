"""Raw channels: both sides send whenever they like, with backpressure, until both have ended."""

from __future__ import annotations

import asyncio
from typing import Any, List

import pytest

from nestjs_mesh import Channel, MeshError, Peer

from .conftest import eventually, raw_client, run


def test_both_sides_send_in_parallel_until_each_has_ended(registry: str) -> None:
    async def test() -> None:
        a, b = Peer("a", registry), Peer("b", registry)
        received: List[Any] = []

        @a.channel()
        async def talk(channel: Channel) -> None:
            for number in range(100):
                await channel.send({"from": "a", "n": number})
            await channel.end()
            received.extend([message async for message in channel])

        async with a, b:
            channel = await b.open_channel("a", metadata={"x-trace": "t"}, session_id="s-1")
            for number in range(100):
                await channel.send({"from": "b", "n": number})
            await channel.end()
            assert [message async for message in channel] == [{"from": "a", "n": n} for n in range(100)]
            await eventually(lambda: received == [{"from": "b", "n": n} for n in range(100)])

    run(test())


def test_the_handler_sees_the_session_the_metadata_and_the_peer(files: str) -> None:
    async def test() -> None:
        a = Peer("a", files)

        @a.channel("info")
        async def info(channel: Channel) -> None:
            await channel.send([channel.session_id, channel.metadata, channel.peer.service, channel.peer.node_id])

        async with a, Peer("b", files) as b:
            channel = await b.open_channel("a", "info", metadata={"X-Trace": "t"}, session_id="s-1")
            assert [message async for message in channel] == [["s-1", {"x-trace": "t"}, "b", b.node_id]]
            with pytest.raises(ValueError, match="header name"):
                await b.open_channel("a", "info", metadata={"x-mesh-version": "9"})

    run(test())


def test_a_sender_waits_while_the_receiver_does_not_read(files: str) -> None:
    async def test() -> None:
        a = Peer("a", files)
        reading = asyncio.Event()
        sizes: List[int] = []

        @a.channel("slow")
        async def slow(channel: Channel) -> None:
            await reading.wait()
            async for message in channel:
                sizes.append(len(message))

        async with a, Peer("b", files) as b:
            channel = await b.open_channel("a", "slow")
            sent = 0

            async def send() -> None:
                nonlocal sent
                for _ in range(60):
                    await channel.send("x" * 1_000_000)
                    sent += 1
                await channel.end()

            task = asyncio.ensure_future(send())
            # Time in which an unlimited sender would have sent all 60 MB; there is no event for "does not go on".
            await asyncio.sleep(1)
            assert sent < 25
            reading.set()
            await task
            await eventually(lambda: len(sizes) == 60)

    run(test())


def test_a_big_message_on_one_channel_does_not_stop_small_calls(files: str) -> None:
    async def test() -> None:
        a = Peer("a", files)
        a.handler("ping")(lambda: "pong")

        @a.channel("never-reads")
        async def never_reads(channel: Channel) -> None:
            await asyncio.sleep(60)

        async with a, Peer("b", files, drain_timeout=0.1) as b:
            channel = await b.open_channel("a", "never-reads")
            filler = asyncio.ensure_future(channel.send("x" * 4_000_000))
            for _ in range(3):
                await channel.send("y" * 4_000_000)
            assert await b.call("a", "ping", timeout=5) == "pong"
            await filler
            await channel.close()

    run(test())


def test_an_unknown_channel_is_refused_with_a_clear_error(files: str) -> None:
    async def test() -> None:
        async with Peer("a", files), Peer("b", files) as b:
            with pytest.raises(MeshError, match=r"UNIMPLEMENTED.*404") as caught:
                await b.open_channel("a", "nope")
            assert caught.value.delivery == "refused"

    run(test())


def test_a_peer_of_part_1_gets_the_default_channel_at_once_and_nothing_of_part_2(files: str) -> None:
    async def test() -> None:
        a = Peer("a", files)
        a.handler("echo")(lambda data: data)

        @a.channel()
        async def talk(channel: Channel) -> None:
            await channel.send({"hello": channel.peer.service, "metadata": channel.metadata})
            async for message in channel:
                await channel.send({"got": message})

        async with a, raw_client(a) as client:
            client.request(x_service_name="old", x_custom="kept")
            assert await client.expect(1) == [{"hello": "old", "metadata": {"x-custom": "kept"}}]
            client.send('{"drain":true}')
            client.send('{"pattern":"echo","data":5,"id":1}')
            client.send('{"text":"x"}')
            messages = await client.expect(4)
            assert {"got": {"drain": True}} in messages
            assert {"got": {"text": "x"}} in messages
            assert {"id": 1, "response": 5, "isDisposed": True} in messages
            client.send_bytes(b"", end=True)
            await eventually(lambda: client.ended)
            assert len(client.messages) == 4

    run(test())


def test_a_frame_that_is_no_packet_reaches_the_default_handler_of_a_packet_channel(files: str) -> None:
    async def test() -> None:
        a = Peer("a", files)

        @a.channel()
        async def talk(channel: Channel) -> None:
            async for message in channel:
                await channel.send({"got": message})

        async with a, raw_client(a) as client:
            client.open_packets()
            client.send("[1,2]")
            assert await client.expect(1) == [{"got": [1, 2]}]

    run(test())


def test_a_handler_that_returns_early_ends_the_channel_without_losing_what_it_sent(files: str) -> None:
    async def test() -> None:
        a = Peer("a", files)

        @a.channel("burst")
        async def burst(channel: Channel) -> None:
            for number in range(5000):
                await channel.send({"n": number, "pad": "x" * 1000})

        async with a, Peer("b", files) as b:
            channel = await b.open_channel("a", "burst")
            # Lets everything arrive before the first read: the end must still be an end, not the reset behind it.
            await asyncio.sleep(0.5)
            assert [message["n"] async for message in channel] == list(range(5000))
            with pytest.raises(MeshError):
                await channel.send("nobody reads this")

    run(test())


def test_a_value_over_the_limit_breaks_the_channel_since_its_reader_must_not_miss_one(files: str) -> None:
    async def test() -> None:
        a = Peer("a", files, max_frame_bytes=2048)
        ends: List[Any] = []

        async def take(channel: Channel) -> None:
            try:
                ends.append([message async for message in channel])
            except MeshError as error:
                ends.append(error.code)

        a.channel("take")(take)
        a.channel()(take)
        async with a, Peer("b", files) as b:
            channel = await b.open_channel("a", "take")
            await channel.send(1)
            await channel.send("x" * 5000)
            await eventually(lambda: ends == ["RESOURCE_EXHAUSTED"])
            with pytest.raises(MeshError, match="UNAVAILABLE"):
                await channel.__anext__()
            async with raw_client(a) as client:
                client.request(x_service_name="part1")
                client.send('"' + "x" * 5000 + '"')
                await eventually(lambda: client.reset_code is not None)
                assert ends[1:] == ["RESOURCE_EXHAUSTED"]

    run(test())
