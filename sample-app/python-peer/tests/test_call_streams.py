"""Call streams: streams of input, two-way streams, and readers whose pace reaches the producer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from typing import Any, AsyncIterator, Dict, List, Tuple

import h2.config
import h2.connection
import h2.events
import pytest

from nestjs_mesh import Context, MeshError, Peer, RpcError
from nestjs_mesh.codec import decode_json
from nestjs_mesh.errors import NO_HANDLER
from nestjs_mesh.frames import FrameDecoder, Oversized, encode_frame
from nestjs_mesh.http2 import STREAM_WINDOW_BYTES

from .conftest import RawClient, RedisServer, eventually, next_line, raw_client, run, script

PAD = "x" * 10_000
#: The window of the stream, what waits in either process, and the value in hand.
MAX_AHEAD_BYTES = STREAM_WINDOW_BYTES + 4 * 1024 * 1024


class Source:
    """An async generator of input that tells how far it got and whether it was closed."""

    def __init__(self, count: float = math.inf, pad: str = "") -> None:
        self.count, self.pad = count, pad
        self.produced = 0
        self.closed = False

    async def values(self) -> AsyncIterator[Any]:
        try:
            while self.produced < self.count:
                self.produced += 1
                yield {"n": self.produced, "pad": self.pad} if self.pad else self.produced
        finally:
            self.closed = True


@contextlib.asynccontextmanager
async def pair(files: str, **options: Any) -> AsyncIterator[Tuple[Peer, Peer, Dict[str, Any]]]:
    """Peer `a` with handlers, peer `b` that calls it."""
    a, b = Peer("a", files, **options), Peer("b", files, **options)
    state: Dict[str, Any] = {"cancelled": 0, "source": Source(pad=PAD), "go": asyncio.Event()}
    a.handler("ping")(lambda: "pong")
    a.handler("ahead")(lambda: state["source"].values())

    @a.handler({"cmd": "collect"})
    async def collect(values: AsyncIterator[Any]) -> List[Any]:
        return [value async for value in values]

    @a.handler("running sum/ä")
    async def running_sum(numbers: AsyncIterator[int]) -> AsyncIterator[int]:
        total = 0
        async for number in numbers:
            total += number
            yield total

    @a.handler("first")
    async def first(values: AsyncIterator[Any]) -> Any:
        async for value in values:
            return value
        return None

    @a.handler("wait")
    async def wait(values: Any) -> int:
        try:
            await state["go"].wait()
            return len([value async for value in values])
        except asyncio.CancelledError:
            state["cancelled"] += 1
            raise

    @a.handler("echo")
    async def echo(data: Any, ctx: Context) -> AsyncIterator[Any]:
        yield [data, ctx.metadata, ctx.peer.service, ctx.pattern, ctx.remaining() is not None]

    @a.handler("fail")
    async def fail(error: Dict[str, Any]) -> AsyncIterator[int]:
        yield 1
        if "payload" in error:
            raise RpcError(error["payload"])
        if "code" in error:
            raise RpcError(MeshError(error["code"], "on purpose", details={"n": 1}))
        if "mesh" in error:
            raise MeshError(error["mesh"], "secret")
        raise ValueError("secret")

    async with a, b:
        yield a, b, state


async def standstill(source: Source) -> int:
    """How much was produced once that no longer grows; nothing else tells that it has stopped."""
    before = -1
    while source.produced != before:
        before = source.produced
        await asyncio.sleep(0.3)
    return before


def test_a_handler_gets_a_stream_of_input_and_answers_with_one_value_or_a_stream(registry: str) -> None:
    async def test() -> None:
        async with pair(registry) as (_, b, _state):
            assert await b.call("a", {"cmd": "collect"}, Source(3).values()) == [1, 2, 3]
            assert await b.call("a", {"cmd": "collect"}, Source(0).values()) == []
            sums = [value async for value in b.stream("a", "running sum/ä", Source(1000).values())]
            assert (len(sums), sums[-1]) == (1000, 500_500)

    run(test())


def test_a_two_way_stream_answers_before_its_input_has_ended(files: str) -> None:
    async def test() -> None:
        async with pair(files) as (_, b, _state):
            asked: asyncio.Queue[int] = asyncio.Queue()

            async def numbers() -> AsyncIterator[int]:
                while True:
                    yield await asked.get()

            sums = b.stream("a", "running sum/ä", numbers())
            for number, total in ((1, 1), (2, 3), (3, 6)):
                asked.put_nowait(number)
                assert await sums.__anext__() == total
            await sums.aclose()  # type: ignore[attr-defined]

    run(test())


def test_one_value_is_the_data_and_its_metadata_and_timeout_travel_with_it(files: str) -> None:
    async def test() -> None:
        async with pair(files) as (_, b, _state):
            metadata = {"Trace": "ä €", "x-mesh-version": "no header"}
            answer = [value async for value in b.stream("a", "echo", {"x": 1}, timeout=5, metadata=metadata)]
            assert answer == [[{"x": 1}, metadata, "b", "echo", True]]
            assert [value async for value in b.stream("a", "echo", timeout=0)] == [[None, {}, "b", "echo", False]]

    run(test())


def test_a_slow_reader_slows_the_handler_to_a_bounded_number_of_bytes_while_small_calls_go_on(files: str) -> None:
    async def test() -> None:
        async with pair(files) as (_, b, state):
            values = b.stream("a", "ahead")
            assert (await values.__anext__())["n"] == 1
            ahead = await standstill(state["source"])
            assert ahead * len(PAD) < MAX_AHEAD_BYTES
            assert await b.call("a", "ping", timeout=2) == "pong"
            for number in range(2, ahead + 500):
                assert (await values.__anext__())["n"] == number
            assert state["source"].produced > ahead
            await values.aclose()  # type: ignore[attr-defined]
            await eventually(lambda: state["source"].closed)

    run(test())


def test_a_slow_handler_slows_the_producer_of_its_input(files: str) -> None:
    async def test() -> None:
        async with pair(files) as (_, b, state):
            source = Source(5000, PAD)
            call = asyncio.ensure_future(b.call("a", "wait", source.values()))
            assert 0 < await standstill(source) * len(PAD) < MAX_AHEAD_BYTES
            state["go"].set()
            assert await call == 5000

    run(test())


def test_a_handler_that_has_its_answer_ends_an_input_that_goes_on(files: str) -> None:
    async def test() -> None:
        async with pair(files) as (a, b, _state):
            source = Source(pad=PAD)
            assert (await b.call("a", "first", source.values()))["n"] == 1
            await eventually(lambda: source.closed)
            await eventually(lambda: not any(s.busy for p in (a, b) for s in p._router.sessions))

    run(test())


def test_giving_up_cancels_the_handler_and_closes_the_input(files: str) -> None:
    async def test() -> None:
        async with pair(files) as (a, b, state):
            endless = Source(pad=PAD)
            with pytest.raises(MeshError, match="DEADLINE_EXCEEDED"):
                await b.call("a", "wait", endless.values(), timeout=1)  # connecting included
            await eventually(lambda: state["cancelled"] == 1 and endless.closed)
            waiting = Source(1)
            call = asyncio.ensure_future(b.call("a", "wait", waiting.values()))
            await eventually(lambda: waiting.closed)  # all of it was sent, so the handler is at work
            call.cancel()
            await eventually(lambda: state["cancelled"] == 2)
            await eventually(lambda: not any(s.busy for p in (a, b) for s in p._router.sessions))

    run(test())


def test_the_timeout_is_for_an_answer_that_stays_out_not_for_one_that_has_begun(files: str) -> None:
    async def test() -> None:
        async with pair(files) as (a, b, _state):

            @a.handler("later")
            async def later(seconds: float) -> AsyncIterator[int]:
                for number in range(3):
                    await asyncio.sleep(seconds)  # the limit is about time, so time must pass
                    yield number

            assert [value async for value in b.stream("a", "later", 0.2, timeout=0.4)] == [0, 1, 2]
            assert await b.call("a", "later", 0.2, timeout=0.4) == 2
            with pytest.raises(MeshError, match="DEADLINE_EXCEEDED"):
                await b.stream("a", "later", 60, timeout=0.2).__anext__()

    run(test())


def test_an_input_that_fails_is_the_callers_error_and_cancels_the_handler(files: str) -> None:
    async def test() -> None:
        async with pair(files) as (_, b, state):

            async def broken(value: Any) -> AsyncIterator[Any]:
                yield value
                raise KeyError("mine")

            with pytest.raises(KeyError, match="mine"):
                await b.call("a", "wait", broken(1))
            await eventually(lambda: state["cancelled"] == 1)
            with pytest.raises(MeshError, match="a value of the input is not JSON"):
                await b.call("a", "wait", broken({1}))

    run(test())


@pytest.mark.parametrize(
    "error, expected",
    [
        ({"payload": {"code": "E", "text": "ä€"}}, {"code": "E", "text": "ä€"}),
        ({"payload": "boom"}, {"status": "error", "message": "boom"}),
        ({"payload": "x" * 20_000}, {"status": "error", "message": "Internal server error"}),
        ({}, {"status": "error", "message": "Internal server error"}),
        ({"mesh": "ABORTED"}, {"status": "error", "message": "Internal server error"}),
        ({"code": "NOT_FOUND"}, "NOT_FOUND"),
    ],
)
def test_errors_arrive_after_the_values_before_them(files: str, error: Dict[str, Any], expected: Any) -> None:
    async def test() -> None:
        async with pair(files) as (_, b, _state):
            values: List[Any] = []
            with pytest.raises((RpcError, MeshError)) as caught:
                async for value in b.stream("a", "fail", error):
                    values.append(value)
            assert values == [1]
            failure: Any = caught.value
            if isinstance(failure, MeshError):
                found = (failure.code, failure.details, failure.service, failure.pattern)
                assert found == (expected, {"n": 1}, "a", "fail")
            else:
                assert failure.payload == expected
            with pytest.raises(RpcError) as unknown:
                await b.call("a", "nobody", Source(1).values())
            assert unknown.value.payload == NO_HANDLER

    run(test())


@contextlib.asynccontextmanager
async def call_by_hand(peer: Peer, pattern: str, **headers: str) -> AsyncIterator[RawClient]:
    async with raw_client(peer) as client:
        client.request(x_service_name="raw", x_mesh_version="1", x_mesh_pattern=pattern, **headers)
        yield client


def test_the_headers_and_trailers_are_those_of_the_protocol(files: str) -> None:
    async def test() -> None:
        async with pair(files) as (a, _, _state):
            options = {
                "x_mesh_input": "value",
                "x_mesh_timeout": "5000",
                "x_mesh_metadata": "%7B%22a%22%3A%22%C3%A4%22%7D",
            }
            async with call_by_hand(a, "echo", x_plain="p", **options) as client:
                client.send_bytes(encode_frame(b'"data"'), end=True)
                assert await client.expect(1) == [["data", {"x-plain": "p", "a": "ä"}, "raw", "echo", True]]
                await eventually(lambda: client.ended)
                assert (client.trailers, client.reset_code) == ({"mesh-status": "OK"}, None)
            async with call_by_hand(a, "echo", x_mesh_input="value") as client:
                client.send_bytes(b"", end=True)
                assert (await client.expect(1))[0][0] is None
            async with call_by_hand(a, "nobody") as client:
                await eventually(lambda: client.reset_code == 0)  # the answer is there before the input has ended
                assert client.ended
                assert client.trailers == {"mesh-status": "UNIMPLEMENTED", "mesh-error": json.dumps(NO_HANDLER)}

    run(test())


@pytest.mark.parametrize(
    "data, end, headers, code",
    [
        (encode_frame(b"{"), False, {}, "INVALID_ARGUMENT"),
        (encode_frame(b"{"), False, {"x_mesh_input": "value"}, "INVALID_ARGUMENT"),
        (encode_frame(b"x" * 5000), False, {}, "RESOURCE_EXHAUSTED"),
        (b"\0\0\0\5a", True, {}, "DATA_LOSS"),
        (encode_frame(b"1"), True, {"x_mesh_timeout": "0"}, "DEADLINE_EXCEEDED"),
        (encode_frame(b"1"), False, {"x_mesh_timeout": "50"}, "DEADLINE_EXCEEDED"),
    ],
)
def test_a_bad_input_ends_that_call_with_the_reason(
    files: str, data: bytes, end: bool, headers: Dict[str, str], code: str
) -> None:
    async def test() -> None:
        async with pair(files, max_frame_bytes=2048) as (a, b, _state):
            async with call_by_hand(a, "wait", **headers) as client:
                client.send_bytes(data, end=end)
                await eventually(lambda: client.ended)
                assert client.trailers["mesh-status"] == code
                assert json.loads(client.trailers["mesh-error"])["code"] == code
            assert await b.call("a", "ping") == "pong"

    run(test())


def test_a_stream_that_the_caller_resets_cancels_the_handler(files: str) -> None:
    async def test() -> None:
        async with pair(files) as (a, _, state), call_by_hand(a, "wait") as client:
            await eventually(lambda: client.headers)
            client.h2.reset_stream(1, 8)
            client.transport.write(client.h2.data_to_send())
            await eventually(lambda: state["cancelled"] == 1)

    run(test())


def test_a_call_that_is_cancelled_while_its_stream_opens_leaves_nothing_open(files: str) -> None:
    async def test() -> None:
        async with pair(files) as (a, b, _state):
            await b.call("a", "ping")
            (session,) = b._router.sessions
            for turns in range(12):  # whatever it is waiting for at that moment
                call = asyncio.ensure_future(b.call("a", "wait", Source(pad="x").values()))
                for _ in range(turns):
                    await asyncio.sleep(0)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
            await eventually(lambda: not session.busy)
            await eventually(lambda: not any(s.busy for s in a._router.sessions))

    run(test())


def test_closing_lets_call_streams_finish(files: str) -> None:
    async def test() -> None:
        async with pair(files) as (a, b, state):
            source = Source(2)
            call = asyncio.ensure_future(b.call("a", "wait", source.values()))
            await eventually(lambda: source.closed)
            closing = asyncio.ensure_future(a.close())
            await asyncio.sleep(0.3)  # longer than the moment after which a node with nothing open is gone
            state["go"].set()
            assert await call == 2
            await closing

    run(test())


class Older(asyncio.Protocol):
    """A server that answers packets with their data, but gives call streams `status`, and ends them at once."""

    def __init__(self, status: str) -> None:
        self.status = status
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.decoder = FrameDecoder()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.h2.initiate_connection()
        transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                is_call = any(str(name) == "x-mesh-pattern" for name, _ in event.headers)
                head = [(":status", self.status if is_call else "200"), ("x-mesh-version", "1")]
                self.h2.send_headers(event.stream_id, head, end_stream=is_call)
            elif isinstance(event, h2.events.DataReceived) and event.stream_id == 1:
                for payload in self.decoder.feed(event.data):
                    assert not isinstance(payload, Oversized)
                    packet = decode_json(payload)
                    if "pattern" in packet:
                        answer = {"id": packet["id"], "response": packet["data"], "isDisposed": True}
                        self.h2.send_data(1, encode_frame(json.dumps(answer).encode()))
        self.transport.write(self.h2.data_to_send())


@pytest.mark.parametrize("status, code", [("501", "UNIMPLEMENTED"), ("200", "UNAVAILABLE")])
def test_a_peer_without_call_streams_is_called_by_packets_and_one_that_gives_no_status_is_told(
    files: str, status: str, code: str
) -> None:
    async def test() -> None:
        server = await asyncio.get_event_loop().create_server(lambda: Older(status), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]  # type: ignore[attr-defined, unused-ignore]
        async with Peer("old", files, advertise=f"127.0.0.1:{port}"), Peer("c", files) as c:
            if status == "501":
                assert [value async for value in c.stream("old", "echo", 7)] == [7]
            with pytest.raises(MeshError, match=code):
                await c.call("old", "echo", Source(1).values(), timeout=2)
        server.close()

    run(test())


def test_a_peer_of_part_1_is_never_sent_a_call_stream(redis_server: RedisServer) -> None:
    async def test() -> None:
        options = ["--registry", redis_server.url, "--service", "old"]
        async with script("tests/part1_peer.py", *options) as old, Peer("new", redis_server.url) as new:
            await next_line(old, "ready")
            with pytest.raises(MeshError, match=r"UNIMPLEMENTED.*knows no call streams"):
                await new.call("old", "echo", Source(1).values())
            assert [value async for value in new.stream("old", "echo", 7)] == [7]

    run(test())
