"""The side that was dialled calls back, and has streams opened: call streams and raw channels both ways."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, AsyncIterator, Dict, List, Optional

import pytest

from nestjs_mesh import Channel, Context, MeshError, Peer, RpcError

from .conftest import eventually, run
from .raw_end import IDENTITY, dialled, dialler, nothing_is_left

PAD = "x" * 1000


async def each(*values: Any) -> AsyncIterator[Any]:
    for value in values:
        yield value


class Pair:
    """`caller` has dialled `service`, whose handlers call back by `ctx.client`."""

    def __init__(self, files: str, **options: Any) -> None:
        self.service, self.caller = Peer("service", files), Peer("caller", files, **options)
        self.notes: List[Any] = []
        self.cancelled = 0
        self.produced = 0
        caller = self.caller
        caller.handler("double")(lambda number: number * 2)
        caller.event("note")(self.notes.append)

        @caller.handler("count")
        async def count(to: Optional[int]) -> AsyncIterator[Any]:
            try:
                while to is None or self.produced < to:
                    self.produced += 1
                    yield [self.produced, PAD] if to is None else self.produced
            except (asyncio.CancelledError, GeneratorExit):
                self.cancelled += 1
                raise

        @caller.handler("collect")
        async def collect(values: AsyncIterator[Any], ctx: Context) -> Any:
            return [[value async for value in values], ctx.metadata, ctx.peer.service, ctx.peer.node_id]

        @caller.handler("fail")
        async def fail(values: AsyncIterator[Any]) -> AsyncIterator[int]:
            yield 1
            raise RpcError({"code": "E"})

        @caller.handler("wait")
        async def wait(values: AsyncIterator[Any]) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise

        @caller.channel("echo")
        async def echo(channel: Channel) -> None:
            await channel.send([channel.metadata, channel.session_id, channel.peer.service])
            async for message in channel:
                await channel.send(message)

    async def client(self) -> Any:
        """What `ctx.client` was in a handler of the service."""
        got: List[Any] = []

        @self.service.handler("meet")
        def meet(data: Any, ctx: Context) -> None:
            got.append(ctx.client)

        await self.caller.call("service", "meet")
        return got[0]


@contextlib.asynccontextmanager
async def pair(files: str) -> AsyncIterator[Pair]:
    both = Pair(files)
    async with both.service, both.caller:
        yield both
        await nothing_is_left(both.service, both.caller)
        for peer in (both.service, both.caller):
            assert len(peer._router.sessions) == 1  # nobody was dialled back


def test_everything_that_a_client_does_works_back_over_the_session_that_the_caller_opened(registry: str) -> None:
    async def test() -> None:
        async with pair(registry) as both:
            client = await both.client()
            assert await client.call("double", 21) == 42
            assert [value async for value in client.stream("count", 1000)] == list(range(1, 1001))
            answer = await client.call("collect", each(1, 2, 3), metadata={"trace": "ä"})
            assert answer == [[1, 2, 3], {"trace": "ä"}, "service", both.service.node_id]
            await client.emit("note", "hello")
            await eventually(lambda: both.notes == ["hello"])
            channel = await client.open_channel("echo", metadata={"x-unit": "ms"}, session_id="s-1")
            await channel.send({"n": 1})
            await channel.end()
            received = [message async for message in channel]
            assert received == [[{"x-unit": "ms"}, "s-1", "service"], {"n": 1}]

    run(test())


def test_a_raw_channel_of_the_caller_can_be_answered_with_calls(files: str) -> None:
    async def test() -> None:
        async with pair(files) as both:

            @both.service.channel("ask")
            async def ask(channel: Channel) -> None:
                async for message in channel:
                    await channel.send(await channel.client.call("double", message))

            channel = await both.caller.open_channel("service", "ask")  # the very first contact
            await channel.send(4)
            assert await channel.__anext__() == 8
            await channel.close()

    run(test())


@pytest.mark.parametrize("options", [{}, {"listen": False}, {"listen": False, "connect_to": ["service"]}])
def test_a_raw_channel_as_the_first_contact_is_answered_in_every_way(files: str, options: Dict[str, Any]) -> None:
    async def test() -> None:
        both = Pair(files, **options)

        @both.service.channel("ask")
        async def ask(channel: Channel) -> None:
            client = channel.client
            echoed = await client.open_channel("echo")
            await echoed.send("hi")
            await echoed.end()
            await client.emit("note", "hello", ack="handled")
            await channel.send(
                {
                    "echoed": [message async for message in echoed][1:],
                    "sum": (await client.call("collect", each(1, 2)))[0],
                    "count": [value async for value in client.stream("count", 3)],
                    "double": await client.call("double", 4),
                }
            )

        async with both.service, both.caller:
            channel = await both.caller.open_channel("service", "ask")
            answer = await channel.__anext__()
            assert answer == {"echoed": ["hi"], "sum": [1, 2], "count": [1, 2, 3], "double": 8}
            assert both.notes == ["hello"]
            await channel.close()
            await nothing_is_left(both.service, both.caller)

    run(test())


def test_a_part_1_peer_to_which_a_raw_channel_is_opened_sees_no_other(files: str) -> None:
    async def test() -> None:
        caller = Peer("caller", files)
        async with caller, dialled(files, caller) as end:
            (session,) = caller._router.sessions
            session.packet_channels[0].retire()
            end.identity = []
            await (await caller.open_channel("raw", "x")).close()
            await asyncio.sleep(0.1)  # a further stream would have come by now
            assert [stream.headers.get("x-mesh-channel") for stream in end.streams.values()] == [None, "x"]
            end.identity = IDENTITY
            await (await caller.open_channel("raw", "x")).close()
            await eventually(lambda: len(end.streams) == 4)  # one that knows part 2 gets a packet channel

    run(test())


def test_errors_come_back_after_the_values_before_them(files: str) -> None:
    async def test() -> None:
        async with pair(files) as both:
            client = await both.client()
            values: List[Any] = []
            with pytest.raises(RpcError) as caught:
                async for value in client.stream("fail", each(1)):
                    values.append(value)
            assert (values, caught.value.payload) == ([1], {"code": "E"})
            with pytest.raises(RpcError, match="no matching message handler"):
                await client.call("nobody", each(1))
            with pytest.raises(MeshError, match="no handler for the channel 'nobody'") as refused:
                await client.open_channel("nobody")
            assert (refused.value.code, refused.value.delivery) == ("NOT_FOUND", "refused")

    run(test())


def test_a_slow_reader_holds_the_handler_back_and_leaving_cancels_it(files: str) -> None:
    async def test() -> None:
        async with pair(files) as both:
            client = await both.client()
            values = client.stream("count")
            await values.__anext__()
            before = -1
            while both.produced != before:  # nothing else tells that it has stopped
                before = both.produced
                await asyncio.sleep(0.3)
            assert before * len(PAD) < 24 * 1024 * 1024
            assert await client.call("double", 1) == 2
            await values.aclose()
            await eventually(lambda: both.cancelled == 1)

    run(test())


def test_a_call_that_is_cancelled_at_any_moment_leaves_nothing(files: str) -> None:
    async def test() -> None:
        async with pair(files) as both:
            client = await both.client()
            for turns in range(25):  # whatever it is waiting for at that moment
                call = asyncio.ensure_future(client.call("wait", each(1)))
                channel = asyncio.ensure_future(client.open_channel("echo"))
                for _ in range(turns):
                    await asyncio.sleep(0)
                for task in (call, channel):
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await (await task).close()
            with pytest.raises(MeshError, match="DEADLINE_EXCEEDED"):
                await client.call("wait", each(1), timeout=0.1)

    run(test())


def test_a_caller_that_is_gone_can_no_longer_be_called(files: str) -> None:
    async def test() -> None:
        both = Pair(files)
        async with both.service:
            async with both.caller:
                client = await both.client()
                stream = client.stream("count")
                await stream.__anext__()
            with pytest.raises(MeshError, match="UNAVAILABLE"):
                async for _ in stream:
                    pass
            for attempt in (client.call("double", 1), client.call("wait", each(1)), client.open_channel("echo")):
                with pytest.raises(MeshError, match="UNAVAILABLE") as caught:
                    await attempt
                assert caught.value.delivery == "not-sent"
            await nothing_is_left(both.service)

    run(test())


# --- the wire, from the side that asks ---


@contextlib.asynccontextmanager
async def asking(files: str) -> AsyncIterator[Any]:
    """A peer whose client calls a hand-driven node that has dialled it."""
    peer, got = Peer("a", files), []

    @peer.handler("meet")
    def meet(data: Any, ctx: Context) -> None:
        got.append(ctx.client)

    async with peer, dialler(peer) as end:
        end.send(1, {"id": 1, "pattern": "meet"})
        await end.packet(1, 0)
        yield peer, end, got[0]
        await nothing_is_left(peer)


def test_the_wish_and_the_stream_are_those_of_the_protocol(files: str) -> None:
    async def test() -> None:
        async with asking(files) as (_, end, client):
            values = client.stream("ä/b", {"x": 1}, timeout=5, metadata={"trace": "1"})
            first = asyncio.ensure_future(values.__anext__())
            wish = await end.packet(1, 1)
            headers = wish.pop("headers")
            token = wish.pop("open")
            assert wish == {} and 16 <= len(token) <= 128
            assert 4000 <= int(headers.pop("x-mesh-timeout")) <= 5000
            assert headers == {
                "x-mesh-pattern": "%C3%A4%2Fb",
                "x-mesh-input": "value",
                "x-mesh-metadata": "%7B%22trace%22%3A%20%221%22%7D",
            }
            number = end.request({"x-mesh-open": token})
            assert (await end.answered(number)).headers[":status"] == "200"
            assert await end.packet(number, 0) == {"x": 1}
            await eventually(lambda: end.streams[number].ended)
            end.send(number, "first", "second")
            assert await first == "first"
            end.h2.send_headers(number, [("mesh-status", "OK")], end_stream=True)
            end.flush()
            assert [value async for value in values] == ["second"]
            again = end.request({"x-mesh-open": token}, end=True)
            assert (await end.answered(again)).headers[":status"] == "404"  # a token is used up

    run(test())


@pytest.mark.parametrize(
    "status, error, code, delivery",
    [
        (
            "NOT_FOUND",
            {"status": "error", "code": "NOT_FOUND", "message": "m", "delivery": "refused"},
            "NOT_FOUND",
            "refused",
        ),
        ("UNAVAILABLE", "no JSON of an error", "UNAVAILABLE", "refused"),
        ("NEVER_HEARD", None, "UNKNOWN", "refused"),
    ],
)
def test_a_refusal_fails_the_opening_with_what_it_says(
    files: str, status: str, error: Any, code: str, delivery: str
) -> None:
    async def test() -> None:
        async with asking(files) as (_, end, client):
            opening = asyncio.ensure_future(client.open_channel("x"))
            wish = await end.packet(1, 1)
            headers = {"x-mesh-open": wish["open"], "mesh-status": status}
            if error is not None:
                headers["mesh-error"] = json.dumps(error)
            number = end.request(headers, end=True)
            stream = await end.answered(number)
            await eventually(lambda: stream.ended)
            assert stream.headers[":status"] == "200"
            with pytest.raises(MeshError) as caught:
                await opening
            assert (caught.value.code, caught.value.delivery) == (code, delivery)

    run(test())


def test_a_wish_that_nobody_follows_is_given_up(files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr("nestjs_mesh.opening.CONNECT_TIMEOUT", 0.2)
        async with asking(files) as (_, end, client):
            with pytest.raises(MeshError, match=r"UNAVAILABLE.*within 0\.2 s") as caught:
                await client.open_channel("x")
            assert caught.value.delivery == "not-sent"
            wish = await end.packet(1, 1)
            number = end.request({"x-mesh-open": wish["open"]}, end=True)
            assert (await end.answered(number)).headers[":status"] == "404"
            # The channel ends while one is under way.
            opening = asyncio.ensure_future(client.open_channel("x"))
            await end.packet(1, 2)
            end.reset(1)
            with pytest.raises(MeshError, match="UNAVAILABLE"):
                await opening

    run(test())


# --- the wire, from the side that is asked ---


@contextlib.asynccontextmanager
async def asked(files: str) -> AsyncIterator[Any]:
    """A peer that has dialled a hand-driven node."""
    peer = Peer("a", files)

    @peer.handler("sum")
    async def add(values: AsyncIterator[int]) -> int:
        return sum([value async for value in values])

    @peer.channel("echo")
    async def echo(channel: Channel) -> None:
        async for message in channel:
            await channel.send(message)

    async with peer, dialled(files, peer) as end:
        yield peer, end
        await nothing_is_left(peer)


def test_a_stream_that_is_asked_for_is_opened_with_the_token_and_ends_with_trailers(files: str) -> None:
    async def test() -> None:
        async with asked(files) as (peer, end):
            end.send(1, {"open": "t-1", "headers": {"x-mesh-pattern": "sum"}})
            number, stream = await end.stream_with("x-mesh-open", "t-1")
            assert stream.headers["x-mesh-node-id"] == peer.node_id
            assert (stream.headers[":path"], stream.headers["x-service-name"]) == ("/channel", "a")
            end.send(number, 1, 2, 3, end=True)
            assert await end.packet(number, 0) == 6
            await eventually(lambda: stream.ended)
            assert stream.trailers == {"mesh-status": "OK"}
            end.send(1, {"open": "t-2", "headers": {"x-mesh-channel": "echo", "x-session-id": "s"}})
            number, stream = await end.stream_with("x-mesh-open", "t-2")
            end.send(number, "hi", end=True)
            assert await end.packet(number, 0) == "hi"
            await eventually(lambda: stream.ended)

    run(test())


@pytest.mark.parametrize(
    "headers, code",
    [
        ({"x-mesh-channel": "nobody"}, "NOT_FOUND"),
        ({}, "INVALID_ARGUMENT"),
        ({"x-mesh-open": "t"}, "INVALID_ARGUMENT"),
    ],
)
def test_what_cannot_be_served_is_refused_on_the_stream_itself(files: str, headers: Dict[str, str], code: str) -> None:
    async def test() -> None:
        async with asked(files) as (_, end):
            end.send(1, {"open": "t", "headers": headers})
            _, stream = await end.stream_with("x-mesh-open", "t")
            await eventually(lambda: stream.ended)
            assert stream.headers["mesh-status"] == code
            assert json.loads(stream.headers["mesh-error"])["delivery"] == "refused"

    run(test())


def test_a_draining_node_refuses_new_streams_that_are_asked_for(files: str) -> None:
    async def test() -> None:
        async with asked(files) as (peer, end):
            peer._core.draining = True
            end.send(1, {"open": "t", "headers": {"x-mesh-pattern": "sum"}})
            _, stream = await end.stream_with("x-mesh-open", "t")
            assert stream.headers["mesh-status"] == "UNAVAILABLE"
            peer._core.draining = False

    run(test())


@pytest.mark.parametrize(
    "packet",
    [
        {"open": "", "headers": {}},
        {"open": "x" * 129, "headers": {}},
        {"open": "line\nbreak", "headers": {}},
        {"open": "ä", "headers": {}},
        {"open": "t"},
        {"open": "t", "headers": {"x-mesh-pattern": 7}},
        {"open": "t", "headers": []},
    ],
)
def test_a_wish_that_makes_no_sense_is_ignored(files: str, packet: Any) -> None:
    async def test() -> None:
        async with asked(files) as (peer, end):
            for _ in range(3):
                end.send(1, packet)
            call = asyncio.ensure_future(peer.call("raw", "still there"))
            await eventually(lambda: len(end.streams[1].messages) == 2)
            request = end.streams[1].messages[1]
            end.send(1, {"id": request["id"], "response": 1, "isDisposed": True})
            assert await call == 1
            assert len(end.streams) == 1

    run(test())


def test_a_wish_that_nobody_wants_any_more_runs_nothing(files: str) -> None:
    async def test() -> None:
        async with asked(files) as (_, end):
            end.status = "404"
            end.send(1, {"open": "t", "headers": {"x-mesh-pattern": "sum"}})
            _, stream = await end.stream_with("x-mesh-open", "t")
            await eventually(lambda: stream.reset == 8)

    run(test())


def test_a_wish_that_reaches_the_side_that_cannot_open_streams_is_ignored(
    files: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with asking(files) as (_, end, _client):
            for _ in range(3):
                end.send(1, {"open": "t", "headers": {"x-mesh-pattern": "x"}})
            end.send(1, {"id": 2, "pattern": "meet"})
            await end.packet(1, 1)

    run(test())
    assert len([record for record in caplog.records if "asked for a stream" in record.message]) == 1
