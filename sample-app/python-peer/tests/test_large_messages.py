"""Messages above `large_message_bytes` travel on streams of their own, in both directions, and delay nobody."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, AsyncIterator, Dict, List

import pytest

from nestjs_mesh import Context, MeshError, Peer, RpcError
from nestjs_mesh.frames import encode_frame

from .conftest import eventually, run
from .raw_end import dialled, dialler, nothing_is_left

LIMIT = 1000
BIG = "b" * 5000
MIB = 1024 * 1024


class Pair:
    """`b` has dialled `a`; both have the same handlers."""

    def __init__(self, files: str, **options: Any) -> None:
        options = {"large_message_bytes": LIMIT, **options}
        self.a, self.b = Peer("a", files, **options), Peer("b", files, **options)
        self.notes: List[Any] = []
        self.produced = 0
        self.cancelled = 0
        self.met: List[Any] = []
        self.a.handler("meet")(lambda data, ctx: self.met.append(ctx.client))
        for peer in (self.a, self.b):
            self._add_handlers(peer)

    def _add_handlers(self, peer: Peer) -> None:
        peer.handler("echo")(lambda data: data)
        peer.event("note")(self.notes.append)

        @peer.handler("mixed")
        async def mixed() -> AsyncIterator[Any]:
            for number in range(20):
                yield [number, BIG if number % 3 == 0 else "small"]

        @peer.handler("big error")
        async def big_error() -> AsyncIterator[Any]:
            yield BIG
            raise RpcError({"text": BIG})

        @peer.handler("ahead")
        async def ahead(size: int) -> AsyncIterator[Any]:
            try:
                while True:
                    self.produced += 1
                    yield "x" * size
            except (asyncio.CancelledError, GeneratorExit):
                self.cancelled += 1
                raise

    async def back(self) -> Any:
        """The client by which `a` calls `b` over the session that `b` has opened."""
        await self.b.call("a", "meet")
        return self.met[-1]


@contextlib.asynccontextmanager
async def pair(files: str, **options: Any) -> AsyncIterator[Pair]:
    both = Pair(files, **options)
    async with both.a, both.b:
        yield both
        await nothing_is_left(both.a, both.b)


async def by_packets(client: Any, pattern: str, data: Any = None) -> List[Any]:
    """All values of an answer that comes by packets; `stream()` would take a stream of its own."""
    session = client._target.link if hasattr(client._target, "link") else None
    if session is None:
        session = next(iter(client._target.router.sessions))
    call = (await session.packets(None)).calls.open(pattern, data, None, {})
    try:
        return [value async for value in call]
    finally:
        call.close()


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_requests_answers_and_events_go_to_and_fro_whoever_dialled(registry: str, codec: str) -> None:
    if codec == "msgpack":
        pytest.importorskip("msgpack")

    async def test() -> None:
        async with pair(registry, codec=codec) as both:
            for client in (both.b.to("a"), await both.back()):
                for data in (BIG, {"n": [BIG, BIG]}, "small", "x" * (3 * MIB)):
                    assert await client.call("echo", data) == data
                assert await asyncio.gather(*(client.call("echo", f"{n}{BIG}") for n in range(100))) == [
                    f"{n}{BIG}" for n in range(100)
                ]
                assert await by_packets(client, "mixed") == [[n, BIG if n % 3 == 0 else "small"] for n in range(20)]
                both.notes.clear()
                await client.emit("note", BIG)
                await client.emit("note", [BIG], ack="handled")
                assert both.notes == [BIG, [BIG]]

    run(test())


def test_an_error_that_is_large_keeps_its_place(files: str) -> None:
    async def test() -> None:
        async with pair(files) as both:
            for client in (both.b.to("a"), await both.back()):
                with pytest.raises(RpcError) as caught:
                    await client.call("big error")
                assert caught.value.payload == {"text": BIG}

    run(test())


def test_a_generator_of_large_values_does_not_run_ahead_and_ends_with_its_caller(files: str) -> None:
    async def test() -> None:
        async with pair(files, max_frame_bytes=8 * MIB) as both:
            client = both.b.to("a")
            await client.call("echo", 1)
            session = next(iter(both.b._router.sessions))
            call = (await session.packets(None)).calls.open("ahead", 1 * MIB, None, {})
            for _ in range(3):
                assert len(await call.__anext__()) == MIB
            call.close()
            await eventually(lambda: both.cancelled == 1)

    run(test(), 60)


def test_64_mib_go_through_while_small_calls_are_answered(files: str) -> None:
    async def test() -> None:
        size = 64 * MIB
        options = {"max_frame_bytes": 80 * MIB, "large_message_bytes": 262_144}
        async with pair(files, **options) as both:
            for client in (both.b.to("a"), await both.back()):
                await client.call("echo", 1)
                large = asyncio.ensure_future(client.call("echo", "x" * size))
                small = 0
                while not large.done():
                    assert await client.call("echo", small) == small
                    small += 1
                assert len(await large) == size
                assert small > 5

    run(test(), 120)


def test_a_message_over_the_limit_of_the_receiver_fails_that_call_alone(files: str) -> None:
    async def test() -> None:
        both = Pair(files)
        both.a._core.max_frame_bytes = 3000
        async with both.a, both.b:
            for client in (both.b.to("a"), await both.back()):
                answer = client.call("echo", BIG)
                with pytest.raises(MeshError, match="RESOURCE_EXHAUSTED"):
                    await answer
                assert await client.call("echo", "small") == "small"
            await nothing_is_left(both.a, both.b)

    run(test())


def test_a_call_that_is_cancelled_at_any_moment_leaves_nothing(files: str) -> None:
    async def test() -> None:
        async with pair(files) as both:
            for client in (both.b.to("a"), await both.back()):
                for turns in range(25):  # whatever it is waiting for at that moment
                    call = asyncio.ensure_future(client.call("echo", BIG * 400))
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    call.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await call
                assert await client.call("echo", BIG) == BIG

    run(test(), 60)


def test_a_lost_session_fails_what_is_under_way(files: str) -> None:
    async def test() -> None:
        async with pair(files) as both:
            client = await both.back()
            for each in (both.b.to("a"), client):
                call = asyncio.ensure_future(each.call("echo", BIG * 600, timeout=5))
                await asyncio.sleep(0)
                for session in list(both.a._router.sessions):
                    session.connection.fail(MeshError("UNAVAILABLE", "cut"))
                with contextlib.suppress(MeshError):  # `b` may have got through by dialling again
                    await call
            await nothing_is_left(both.a, both.b)

    run(test())


def test_a_node_that_drains_finishes_large_answers(files: str) -> None:
    async def test() -> None:
        both = Pair(files)

        @both.a.handler("late")
        async def late() -> str:
            await asyncio.sleep(0.3)
            return BIG * 400

        async with both.b:
            await both.a.start()
            call = asyncio.ensure_future(both.b.call("a", "late"))
            await eventually(lambda: any(p.busy for s in both.a._router.sessions for p in s.packet_channels))
            await both.a.close()
            assert await call == BIG * 400

    run(test())


def test_0_is_never(files: str) -> None:
    with pytest.raises(ValueError, match="large_message_bytes must be 0"):
        Peer("a", files, large_message_bytes=-1)

    async def test() -> None:
        async with pair(files, large_message_bytes=0) as both:
            assert await both.b.call("a", "echo", BIG) == BIG
            (session,) = both.b._router.sessions
            assert session.connection._h2.highest_outbound_stream_id == 1

    run(test())


# --- the wire, from the side that was dialled ---


@contextlib.asynccontextmanager
async def served(files: str, **options: Any) -> AsyncIterator[Any]:
    """A peer that a hand-driven node has dialled."""
    peer = Peer("a", files, large_message_bytes=LIMIT, **options)
    got: Dict[str, Any] = {}

    @peer.handler("echo")
    def echo(data: Any, ctx: Context) -> Any:
        got["client"] = ctx.client
        return data

    async with peer, dialler(peer) as end:
        end.send(1, {"id": 0, "pattern": "echo", "data": 0})
        await end.packet(1, 0)
        yield peer, end, got["client"]
        await nothing_is_left(peer)


def test_a_large_request_comes_on_its_own_stream_and_its_answer_is_asked_for(files: str) -> None:
    async def test() -> None:
        async with served(files) as (_, end, _client):
            number = end.request({"x-mesh-packet": "request"})
            end.send(number, {"id": 1, "pattern": "echo", "data": BIG}, end=True)
            stream = await end.answered(number)
            await eventually(lambda: stream.ended)
            assert (stream.headers[":status"], stream.messages) == ("200", [])
            place = await end.packet(1, 1)
            assert sorted(place) == ["id", "open"] and place["id"] == 1
            answer = end.request({"x-mesh-open": place["open"]}, end=True)
            assert await end.packet(answer, 0) == {"id": 1, "response": BIG, "isDisposed": True}
            await eventually(lambda: end.streams[answer].ended)

    run(test())


def test_an_answer_that_nobody_fetches_says_so_in_its_place(files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr("nestjs_mesh.opening.CONNECT_TIMEOUT", 0.2)
        async with served(files) as (_, end, _client):
            end.send(1, {"id": 1, "pattern": "echo", "data": BIG})
            place = await end.packet(1, 1)
            error = await end.packet(1, 2)
            assert (error["id"], error["open"], error["isDisposed"]) == (1, place["open"], True)
            assert error["err"]["code"] == "UNAVAILABLE"

    run(test())


def test_a_cancel_forgets_the_answer_that_waits(files: str) -> None:
    async def test() -> None:
        async with served(files) as (_, end, _client):
            end.send(1, {"id": 1, "pattern": "echo", "data": BIG})
            place = await end.packet(1, 1)
            end.send(1, {"id": 1, "cancel": True})
            number = end.request({"x-mesh-open": place["open"]}, end=True)
            assert (await end.answered(number)).headers[":status"] == "404"

    run(test())


@pytest.mark.parametrize("stream_first", [True, False])
def test_a_large_answer_comes_before_or_after_its_place_holder(files: str, stream_first: bool) -> None:
    async def test() -> None:
        async with served(files) as (_, end, client):
            session = client._target.link
            call = (await session.packets(None)).calls.open("p", None, None, {})
            request = await end.packet(1, 1)
            call_id = request["id"]
            if stream_first:
                number = end.request({"x-mesh-packet": "t"})
                end.send(number, {"id": call_id, "response": "large"}, end=True)
                await end.answered(number)
            end.send(1, {"id": call_id, "open": "t"})
            end.send(1, {"id": call_id, "response": "later"})
            end.send(1, {"id": call_id, "isDisposed": True})
            if not stream_first:
                number = end.request({"x-mesh-packet": "t"})
                end.send(number, {"id": call_id, "response": "large"}, end=True)
            assert [value async for value in call] == ["large", "later"]
            call.close()

    run(test())


def test_a_stream_without_a_place_stays_unread_and_is_given_up(files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr("nestjs_mesh.side_packets.CONNECT_TIMEOUT", 0.5)
        async with served(files, max_frame_bytes=64 * MIB) as (_, end, _client):
            number = end.request({"x-mesh-packet": "nobody's"})
            end.send_bytes(number, (40 * MIB).to_bytes(4, "big"))
            while end.h2.local_flow_control_window(number) > 0:
                window = min(16384, end.h2.local_flow_control_window(number))
                end.send_bytes(number, b"x" * window)
            await end.answered(number)
            assert end.h2.local_flow_control_window(number) == 0
            await eventually(lambda: end.streams[number].reset is not None)

    run(test())


@pytest.mark.parametrize(
    "frames, code",
    [
        (b"", "UNAVAILABLE"),
        (encode_frame(b"{")[:-1], "DATA_LOSS"),
        (encode_frame(b"{"), "INVALID_ARGUMENT"),
        (encode_frame(b'{"id":99,"response":1}'), "UNAVAILABLE"),
        (encode_frame(b'"raw"'), "UNAVAILABLE"),
        (encode_frame(b"x" * 5000), "RESOURCE_EXHAUSTED"),
        (None, "UNAVAILABLE"),
    ],
)
def test_a_large_answer_that_is_broken_fails_its_call_and_cancels_it(files: str, frames: Any, code: str) -> None:
    async def test() -> None:
        async with served(files, max_frame_bytes=4096) as (_, end, client):
            call = asyncio.ensure_future(client.call("p"))
            call_id = (await end.packet(1, 1))["id"]
            end.send(1, {"id": call_id, "open": "t"})
            number = end.request({"x-mesh-packet": "t"})
            if frames is None:
                end.reset(number)
            else:
                end.send_bytes(number, frames, end=True)
            with pytest.raises(MeshError) as caught:
                await call
            assert (caught.value.code, caught.value.delivery) == (code, "unknown")
            assert await end.packet(1, 2) == {"id": call_id, "cancel": True}

    run(test())


def test_one_token_for_two_large_answers_fails_the_call(files: str) -> None:
    async def test() -> None:
        async with served(files) as (_, end, client):
            call = asyncio.ensure_future(client.call("p"))
            call_id = (await end.packet(1, 1))["id"]
            end.send(1, {"id": call_id, "open": "t"}, {"id": call_id, "open": "t"})
            with pytest.raises(MeshError) as caught:
                await call
            assert (caught.value.code, caught.value.delivery) == ("UNAVAILABLE", "unknown")

    run(test())


def test_the_sender_can_take_a_large_answer_back(files: str) -> None:
    async def test() -> None:
        async with served(files) as (_, end, client):
            call = asyncio.ensure_future(client.call("p"))
            call_id = (await end.packet(1, 1))["id"]
            end.send(1, {"id": call_id, "open": "t"})
            end.send(1, {"id": call_id, "open": "t", "err": {"code": "E"}, "isDisposed": True})
            with pytest.raises(RpcError) as caught:
                await call
            assert caught.value.payload == {"code": "E"}

    run(test())


def test_a_large_request_of_the_dialled_side_is_fetched_by_token(files: str) -> None:
    async def test() -> None:
        async with served(files) as (_, end, client):
            call = asyncio.ensure_future(client.call("p", BIG))
            wish = await end.packet(1, 1)
            assert wish["headers"] == {"x-mesh-packet": "request"}
            number = end.request({"x-mesh-open": wish["open"]}, end=True)
            request = await end.packet(number, 0)
            assert (request["pattern"], request["data"]) == ("p", BIG)
            await eventually(lambda: end.streams[number].ended)
            end.send(1, {"id": request["id"], "response": 1, "isDisposed": True})
            assert await call == 1

    run(test())


def test_a_large_request_that_nobody_fetches_was_not_sent(files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr("nestjs_mesh.opening.CONNECT_TIMEOUT", 0.2)
        async with served(files) as (_, _end, client):
            with pytest.raises(MeshError, match="UNAVAILABLE") as caught:
                await client.call("p", BIG)
            assert caught.value.delivery == "not-sent"
            with pytest.raises(MeshError, match="UNAVAILABLE"):
                await client.emit("p", BIG)

    run(test())


@pytest.mark.parametrize(
    "frames",
    [
        encode_frame(b'{"id":5,"response":1}'),
        encode_frame(b'{"drain":true}'),
        encode_frame(b"7"),
        encode_frame(b"{"),
        encode_frame(b'{"id":7,"pat')[:-3],
        encode_frame(b'{"id":1,"pattern":"echo","data":1}') * 3,
        b"\xff\xff\xff\xff",
        b"",
    ],
)
def test_what_is_no_request_on_a_stream_for_one_is_ignored(files: str, frames: bytes) -> None:
    async def test() -> None:
        async with served(files) as (_, end, _client):
            number = end.request({"x-mesh-packet": "request"})
            end.send_bytes(number, frames, end=True)
            end.send(1, {"id": "alive", "pattern": "echo", "data": 1})
            await eventually(lambda: {"id": "alive", "response": 1, "isDisposed": True} in end.streams[1].messages)

    run(test())


# --- the wire, from the side that has dialled ---


def test_what_the_dialling_side_sends_goes_on_streams_that_it_opens(files: str) -> None:
    async def test() -> None:
        peer = Peer("a", files, large_message_bytes=LIMIT)
        peer.handler("echo")(lambda data: data)
        async with peer, dialled(files, peer) as end:
            call = asyncio.ensure_future(peer.call("raw", "p", BIG))
            number, stream = await end.stream_with("x-mesh-packet", "request")
            request = await end.packet(number, 0)
            assert (request["pattern"], request["data"]) == ("p", BIG)
            await eventually(lambda: stream.ended)
            end.h2.end_stream(number)
            end.send(1, {"id": request["id"], "open": "t-1"})
            number, stream = await end.stream_with("x-mesh-open", "t-1")
            await eventually(lambda: stream.ended)
            end.send(number, {"id": request["id"], "response": BIG, "isDisposed": True}, end=True)
            assert await call == BIG
            # The answer of the dialling side.
            end.send(1, {"id": 7, "pattern": "echo", "data": BIG})
            await eventually(lambda: len(end.streams[1].messages) == 2)
            place = end.streams[1].messages[1]
            number, stream = await end.stream_with("x-mesh-packet", place["open"])
            assert await end.packet(number, 0) == {"id": 7, "response": BIG, "isDisposed": True}
            end.h2.end_stream(number)
            end.flush()
            # A request that the other side wants to send.
            end.send(1, {"open": "t-2", "headers": {"x-mesh-packet": "request"}})
            number, stream = await end.stream_with("x-mesh-open", "t-2")
            end.send(number, {"id": 8, "pattern": "echo", "data": 8}, end=True)
            assert await end.packet(1, 2) == {"id": 8, "response": 8, "isDisposed": True}
            await nothing_is_left(peer)

    run(test())


def test_a_refused_large_request_says_so(files: str) -> None:
    async def test() -> None:
        peer = Peer("a", files, large_message_bytes=LIMIT)
        async with peer, dialled(files, peer) as end:
            end.status = "503"
            with pytest.raises(MeshError, match="UNAVAILABLE") as caught:
                await peer.call("raw", "p", BIG, timeout=2)
            assert caught.value.delivery == "refused"
            end.status = None
            with pytest.raises(MeshError, match="DEADLINE_EXCEEDED"):
                await peer.call("raw", "p", BIG, timeout=0.3)
            await eventually(lambda: any(stream.reset == 8 for stream in end.streams.values()))
            await nothing_is_left(peer)

    run(test())


def test_a_generator_waits_for_each_of_its_large_values_to_leave(files: str) -> None:
    async def test() -> None:
        peer, produced = Peer("a", files, large_message_bytes=LIMIT), 0

        @peer.handler("ahead")
        async def ahead() -> AsyncIterator[str]:
            nonlocal produced
            while True:
                produced += 1
                yield BIG

        async with peer, dialler(peer) as end:
            end.send(1, {"id": 1, "pattern": "ahead"})
            for taken in range(3):
                place = await end.packet(1, taken)
                assert produced == taken + 1  # it waits until this one was fetched
                number = end.request({"x-mesh-open": place["open"]}, end=True)
                assert (await end.packet(number, 0))["response"] == BIG
            end.send(1, {"id": 1, "cancel": True})
            await nothing_is_left(peer)

    run(test())
