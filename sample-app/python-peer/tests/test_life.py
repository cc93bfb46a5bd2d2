"""Starting, leaving and dying: no call is lost silently."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Tuple

import pytest

from nestjs_mesh import Channel, MeshError, Peer, Tls

from .conftest import eventually, next_line, raw_client, run, script


def test_a_killed_peer_fails_its_open_calls_at_once(registry: str) -> None:
    async def test() -> None:
        async with script("tests/interop_peer.py", "--registry", registry, "--service", "victim") as process:
            await next_line(process, "ready")
            async with Peer("caller", registry) as caller:
                assert await caller.call("victim", "sum", {"a": 1, "b": 2}) == 3
                channel = await caller.open_channel("victim", "echo")
                calls = [asyncio.ensure_future(caller.call("victim", "slow", {"ms": 60_000})) for _ in range(3)]
                await eventually(lambda: all(p.busy for s in caller._router.sessions for p in s.packet_channels))
                began = time.monotonic()
                os.kill(process.pid, signal.SIGKILL)
                for call in calls:
                    with pytest.raises(MeshError, match="UNAVAILABLE") as caught:
                        await call
                    assert caught.value.delivery == "unknown"
                with pytest.raises(MeshError, match="UNAVAILABLE"):
                    await channel.__anext__()
                assert time.monotonic() - began < 1
                with pytest.raises(MeshError, match="cannot connect") as away:
                    await caller.call("victim", "sum", {"a": 1, "b": 2}, timeout=0.5)
                assert away.value.delivery == "not-sent"

    run(test())


def test_another_node_takes_the_calls_of_a_dead_one(files: str) -> None:
    async def test() -> None:
        async with script("tests/interop_peer.py", "--registry", files, "--service", "many") as process:
            await next_line(process, "ready")
            other = Peer("many", files)
            other.handler("sum")(lambda data: "other")
            async with other, Peer("caller", files) as caller:
                await caller.call("many", "sum", {"a": 1, "b": 2})
                os.kill(process.pid, signal.SIGKILL)
                await process.wait()
                for _ in range(5):
                    assert await caller.call("many", "sum", {"a": 1, "b": 2}, timeout=5) == "other"

    run(test())


def test_closing_finishes_what_is_open_and_starts_nothing_new(files: str) -> None:
    async def test() -> None:
        a, b = Peer("a", files), Peer("b", files)

        @a.handler("slow")
        async def slow() -> str:
            await asyncio.sleep(0.3)
            return "finished"

        async with b:
            await a.start()
            call = asyncio.ensure_future(b.call("a", "slow"))
            await eventually(lambda: any(p.busy for s in a._router.sessions for p in s.packet_channels))
            closing = asyncio.ensure_future(a.close())
            assert await call == "finished"
            await closing
            await eventually(lambda: not b._router.sessions)
            with pytest.raises(MeshError, match="the registry names no node"):
                await b.call("a", "slow", timeout=1)

    run(test())


def test_who_dialled_goes_on_calling_over_a_channel_whose_other_side_drains(files: str) -> None:
    async def test() -> None:
        a = Peer("a", files)
        a.handler("echo")(lambda data: data)
        async with a, raw_client(a) as client:
            client.open_packets()
            client.send('{"drain":true}')
            client.send('{"id":1,"pattern":"echo","data":"still"}')
            assert await client.expect(1) == [{"id": 1, "response": "still", "isDisposed": True}]
            assert not client.ended
            client.send_bytes(b"", end=True)
            await eventually(lambda: client.ended)

    run(test())


def test_a_draining_node_asks_on_channels_it_has_dialled_too_and_its_handlers_can_still_call(files: str) -> None:
    async def test() -> None:
        a, b = Peer("a", files), Peer("b", files)
        a.handler("echo")(lambda data: data)

        @b.handler("slow")
        async def slow() -> object:
            await asyncio.sleep(0.3)
            return await b.call("a", "echo", "called while draining")

        async with a:
            await b.start()
            await b.call("a", "echo")
            call = asyncio.ensure_future(a.call("b", "slow"))
            (session,) = a._router.sessions
            await eventually(lambda: session.packet_channels[0].busy)
            closing = asyncio.ensure_future(b.close())
            await eventually(lambda: not session.packet_channels[0].usable)
            assert await call == "called while draining"
            await closing

    run(test())


def test_a_rolling_restart_loses_no_call(files: str) -> None:
    async def test() -> None:
        def node() -> Peer:
            peer = Peer("rolling", files)

            @peer.handler("work")
            async def work(number: int) -> int:
                await asyncio.sleep(0.005)
                return number

            return peer

        nodes = [node(), node()]
        for each in nodes:
            await each.start()
        stopped = asyncio.Event()
        done = 0

        async def load(caller: Peer) -> None:
            nonlocal done
            while not stopped.is_set():
                assert await caller.call("rolling", "work", done, timeout=10) is not None
                done += 1

        async def progress() -> None:
            target = done + 50
            await eventually(lambda: done >= target)

        async with Peer("caller", files) as caller:
            workers = [asyncio.ensure_future(load(caller)) for _ in range(20)]
            for _ in range(2):
                await progress()
                fresh = node()
                await fresh.start()
                nodes.append(fresh)
                await nodes.pop(0).close()
            stopped.set()
            await asyncio.gather(*workers)
            assert done > 100
        for each in nodes:
            await each.close()

    run(test())


def test_close_does_not_wait_for_ever_for_a_handler(files: str) -> None:
    async def test() -> None:
        a = Peer("a", files, drain_timeout=0.3)

        @a.handler("never")
        async def never_answers() -> None:
            await asyncio.sleep(60)

        @a.channel("never")
        async def never(channel: Channel) -> None:
            await asyncio.sleep(60)

        async with Peer("b", files) as b:
            await a.start()
            await b.open_channel("a", "never")
            call = asyncio.ensure_future(b.call("a", "never"))
            await eventually(lambda: any(p.busy for s in a._router.sessions for p in s.packet_channels))
            began = time.monotonic()
            await a.close()
            assert time.monotonic() - began < 2
            with pytest.raises(MeshError, match="UNAVAILABLE"):
                await call

    run(test())


def test_a_port_that_is_taken_is_told(files: str) -> None:
    async def test() -> None:
        async with Peer("a", files) as a:
            with pytest.raises(MeshError, match=f"port {a.port} on 127.0.0.1 is in use"):
                await Peer("b", files, port=a.port).start()

    run(test())


def test_everything_works_over_tls(registry: str, certificate: Tuple[str, str]) -> None:
    async def test() -> None:
        cert, key = certificate
        tls = Tls.from_files(cert, key, ca=cert, verify_clients=True)
        a, b = Peer("a", registry, tls=tls), Peer("b", registry, tls=tls)
        a.handler("echo")(lambda data: data)

        @a.channel()
        async def echo(channel: Channel) -> None:
            async for message in channel:
                await channel.send(message)

        async with a, b:
            big = "x" * 3_000_000
            assert await b.call("a", "echo", big) == big
            channel = await b.open_channel("a")
            for number in range(100):
                await channel.send(number)
            await channel.end()
            assert [message async for message in channel] == list(range(100))

    run(test())


def test_cleartext_and_untrusted_callers_of_a_tls_peer_get_a_clear_error(
    files: str, certificate: Tuple[str, str]
) -> None:
    async def test() -> None:
        cert, key = certificate
        untrusting = Tls.from_files(cert, key)  # the system's authorities have not signed it
        async with Peer("a", files, tls=Tls.from_files(cert, key, ca=cert)):
            for tls, reason in ((None, "HTTP/2|lost"), (untrusting, "certificate")):
                async with Peer("b", files, tls=tls) as b:
                    with pytest.raises(MeshError, match=reason) as caught:
                        await b.call("a", "x", timeout=0.5)
                    assert caught.value.delivery == "not-sent"

    run(test())


def test_a_wrong_tls_file_is_named() -> None:
    with pytest.raises(ValueError, match=r"nowhere\.pem"):
        Tls.from_files("nowhere.pem", "nowhere.key")


@pytest.mark.parametrize(
    "advertise, expected",
    [
        ("python-peer", ("python-peer", None)),
        ("python-peer:7000", ("python-peer", 7000)),
        ("[::1]:7000", ("::1", 7000)),
        ("::1", ("::1", None)),
    ],
)
def test_advertise_replaces_what_is_announced(advertise: str, expected: Tuple[str, int]) -> None:
    peer = Peer("a", "file:x", advertise=advertise, port=5)
    assert peer._announced_address() == (expected[0], expected[1] or 5)


def test_a_silent_connection_is_given_up_after_the_keep_alive(files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr("nestjs_mesh.keep_alive.KEEP_ALIVE_INTERVAL", 0.2)
        monkeypatch.setattr("nestjs_mesh.keep_alive.KEEP_ALIVE_TIMEOUT", 0.3)
        async with script("tests/interop_peer.py", "--registry", files, "--service", "frozen") as process:
            await next_line(process, "ready")
            async with Peer("caller", files) as caller:
                assert await caller.call("frozen", "echo", 1) == 1
                # Some pings go to and fro first: an idle connection that answers is kept.
                await asyncio.sleep(1)
                assert len(caller._router.sessions) == 1
                call = asyncio.ensure_future(caller.call("frozen", "echo", 2))
                os.kill(process.pid, signal.SIGSTOP)
                with pytest.raises(MeshError, match="PING"):
                    await asyncio.gather(call, caller.call("frozen", "slow", {"ms": 60_000}))
                os.kill(process.pid, signal.SIGCONT)

    run(test())
