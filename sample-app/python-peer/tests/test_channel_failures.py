"""How a raw channel ends whose handler has failed: its caller knows why, and all else goes on."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Dict, List, Tuple

import pytest

from nestjs_mesh import Channel, HttpError, MeshError, Peer, RpcError

from .conftest import eventually, raw_client, run

MASKED = ("UNKNOWN", "Internal server error")
LONG = "x" * 20_000

#: What the handler raises, and what its caller gets.
ERRORS: Dict[str, Tuple[BaseException, Tuple[str, str]]] = {
    "a text": (RpcError("sold out"), ("UNKNOWN", "sold out")),
    "an object": (RpcError({"reason": "sold out"}), ("UNKNOWN", "the handler failed")),
    "a MeshError": (RpcError(MeshError("NOT_FOUND", "no room 7")), ("NOT_FOUND", "no room 7")),
    "an HttpError": (HttpError(404, "no room 7"), ("NOT_FOUND", "no room 7")),
    "a fault": (ValueError("secret"), MASKED),
    "a MeshError of a call of its own": (MeshError("ABORTED", "secret"), MASKED),
    "an error that is too long for trailers": (RpcError(LONG), MASKED),
    "an error that is no JSON": (RpcError({"secret": object()}), MASKED),
    "a cancel of its own": (asyncio.CancelledError(), ("CANCELLED", "the handler was cancelled")),
}


def failing(peer: Peer, error: BaseException, *, ends: bool = False) -> None:
    """Adds the channel `broken`, which sends 1 and 2 and then raises `error`."""

    async def broken(channel: Channel) -> None:
        await channel.send(1)
        await channel.send(2)
        if ends:
            await channel.end()
        raise error

    peer.channel("broken")(broken)
    peer.channel()(broken)


async def read(channel: Channel) -> Tuple[List[Any], MeshError]:
    """What has come before the error, and the error."""
    values: List[Any] = []
    with pytest.raises(MeshError) as caught:
        async for value in channel:
            values.append(value)
    return values, caught.value


@pytest.mark.parametrize("kind", list(ERRORS))
def test_the_caller_has_the_values_and_then_the_error(files: str, kind: str) -> None:
    error, expected = ERRORS[kind]

    async def test() -> None:
        a = Peer("a", files)
        failing(a, error)
        async with a, Peer("b", files) as b:
            channel = await b.open_channel("a", "broken")
            values, caught = await read(channel)
            assert values == [1, 2]
            assert (caught.code, caught.message) == expected
            with pytest.raises(MeshError):
                await channel.send("too late")

    run(test())


@pytest.mark.parametrize("kind", list(ERRORS))
def test_a_callee_that_has_dialled_tells_its_error_too(files: str, kind: str) -> None:
    error, expected = ERRORS[kind]

    async def test() -> None:
        a, seen = Peer("a", files), []

        @a.channel("ask-back")
        async def ask_back(channel: Channel) -> None:
            seen.append(await read(await channel.client.open_channel("broken")))

        worker = Peer("worker", files, listen=False)
        failing(worker, error)
        async with a, worker:
            channel = await worker.open_channel("a", "ask-back")
            assert [value async for value in channel] == []
            ((values, caught),) = seen
            assert values == [1, 2]
            assert (caught.code, caught.message) == expected

    run(test())


def test_what_is_masked_is_in_the_log_under_the_id_that_the_caller_has(
    files: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        a = Peer("a", files)
        failing(a, ValueError("secret"))
        async with a, Peer("b", files) as b:
            _, caught = await read(await b.open_channel("a", "broken"))
            assert caught.details is not None
            text = f"errorId {caught.details['errorId']}: the handler of the channel 'broken' of b failed"
            (record,) = [record for record in caplog.records if record.message == text]
            assert record.exc_info is not None and "secret" in str(record.exc_info[1])
            assert "secret" not in str(caught.to_wire())

    with caplog.at_level(logging.ERROR, "nestjs_mesh"):
        run(test())


def test_the_trailers_are_those_of_a_call_stream_that_has_failed(files: str) -> None:
    async def test() -> None:
        a = Peer("a", files)
        failing(a, RpcError(MeshError("NOT_FOUND", "no room é")))
        async with a, raw_client(a) as client:
            client.open_packets(x_mesh_channel="broken")
            await eventually(lambda: client.ended)
            assert client.messages == [1, 2]
            assert client.trailers == {
                "mesh-status": "NOT_FOUND",
                "mesh-error": '{"status":"error","code":"NOT_FOUND","message":"no room \\u00e9","delivery":"unknown"}',
            }

    run(test())


def test_a_caller_of_part_1_sees_a_reset(files: str) -> None:
    async def test() -> None:
        a = Peer("a", files)
        failing(a, RpcError("sold out"))
        async with a, raw_client(a) as client:
            client.request(x_service_name="part1", x_mesh_channel="broken")
            await eventually(lambda: client.reset_code is not None)
            assert client.trailers == {}

    run(test())


def test_a_handler_that_fails_after_its_own_end_resets_the_channel(files: str) -> None:
    async def test() -> None:
        a = Peer("a", files)
        failing(a, RpcError("sold out"), ends=True)
        async with a, raw_client(a) as client:
            client.open_packets(x_mesh_channel="broken")
            await eventually(lambda: client.reset_code is not None)
            assert client.trailers == {}

    run(test())


def test_a_default_handler_that_fails_leaves_the_calls_of_its_packet_channel_alone(files: str) -> None:
    async def test() -> None:
        a = Peer("a", files)
        release = asyncio.Event()
        failing(a, RpcError("sold out"))

        @a.handler("wait")
        async def wait() -> str:
            await release.wait()
            return "done"

        async with a, raw_client(a) as client:
            client.open_packets()
            client.send('{"pattern":"wait","id":1}')
            client.send('{"text":"x"}')
            assert await client.expect(2) == [1, 2]
            await eventually(lambda: not a._core.tasks)
            release.set()
            await client.expect(3)
            assert client.messages[2] == {"id": 1, "response": "done", "isDisposed": True}
            assert client.reset_code is None and not client.ended

    run(test())


def test_that_the_caller_has_left_is_no_fault_of_the_handler(files: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        a = Peer("a", files)

        @a.channel("talks")
        async def talks(channel: Channel) -> None:
            async for _ in channel:
                pass

        async with a:
            async with raw_client(a) as client:
                client.open_packets(x_mesh_channel="talks")
                await eventually(lambda: client.headers)
            await eventually(lambda: not a._core.tasks)

    with caplog.at_level(logging.WARNING, "nestjs_mesh"):
        run(test())
    assert [record.levelname for record in caplog.records if "talks" in record.message] == ["WARNING"]
