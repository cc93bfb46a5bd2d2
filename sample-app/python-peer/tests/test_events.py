"""Events: who takes them, who hears of it, and what is counted."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Any, AsyncIterator, Dict, List

import pytest
import redis.asyncio

from nestjs_mesh import Context, EventCounts, MeshError, Peer, RpcError
from nestjs_mesh.errors import MASKED_ERROR
from nestjs_mesh.pattern_trie import PatternTrie, matches
from nestjs_mesh.registry import events_of, parse_record

from .conftest import RedisServer, eventually, next_line, raw_client, run, script


@pytest.mark.parametrize(
    "pattern, yes, no",
    [
        ("a.b", ["a.b"], ["a", "a.b.c", "a.c", "A.b"]),
        ("a.*", ["a.b", "a.", "a.*"], ["a", "a.b.c", "b.a"]),
        ("*.b", ["a.b", ".b"], ["a.b.b", "b"]),
        ("*", ["a", ""], ["a.b"]),
        ("a.>", ["a.b", "a.b.c"], ["a", "b.a"]),
        ("a.**", ["a.b", "a.b.c"], ["a"]),
        (">", ["a", "a.b.c", ""], []),
        ("a.*.c.>", ["a.b.c.d.e"], ["a.b.c", "a.c.d"]),
        ("order*", ["order*"], ["orders"]),
        ('{"on":"a.b"}', ['{"on":"a.b"}'], ['{"on":"a.c"}']),
    ],
)
def test_wildcards_match_tokens(pattern: str, yes: List[str], no: List[str]) -> None:
    trie: PatternTrie[int] = PatternTrie()
    trie.add(pattern, 1)
    for name in yes:
        assert (trie.match(name), matches(pattern, name)) == ([1], True)
    for name in no:
        assert (trie.match(name), matches(pattern, name)) == ([], False)


@pytest.mark.parametrize("pattern", ["a.>.b", "**.b", ">.>"])
def test_a_pattern_that_can_match_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="can match nothing"):
        Peer("a", "file:x").event(pattern)(print)
    assert not matches(pattern, "a.x.b")


def test_every_handler_that_matches_runs_once_and_one_that_fails_does_not_touch_the_others(
    files: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        a, b = Peer("a", files), Peer("b", files)
        heard: List[Any] = []

        @a.event("orders.*")
        @a.event("orders.>")
        async def both(data: Any, ctx: Context) -> None:
            heard.append(["both", data, ctx.pattern])

        @a.event("orders.new")
        async def fails() -> None:
            raise ValueError("on purpose")

        @a.event({"on": "orders"})
        async def generator(data: Any) -> AsyncIterator[int]:
            yield 1
            heard.append(["generator", data])

        @a.event(">")
        def everything(data: Any) -> None:
            heard.append(["everything", data])

        @a.handler("plain")
        def plain(data: Any) -> None:
            heard.append(["request handler", data])

        async with a, b:
            await b.emit("a", "orders.new", 1)
            await eventually(lambda: len(heard) == 2)
            await b.emit("a", {"on": "orders"}, 2)
            await b.emit("a", '{"on":"orders"}', 3)
            await b.emit("a", "plain", 4)
            await eventually(lambda: len(heard) == 8)
            assert sorted(heard, key=json.dumps) == [
                ["both", 1, "orders.new"],
                ["everything", 1],
                ["everything", 2],
                ["everything", 3],
                ["everything", 4],
                ["generator", 2],
                ["generator", 3],
                ["request handler", 4],
            ]
            assert a.event_counts == EventCounts(received=4, failed=1)
            assert b.event_counts == EventCounts(sent=4)
            assert "a handler of the event orders.new, sent by b, failed" in caplog.text

    run(test())


def test_acknowledgements_say_received_handled_or_what_went_wrong(files: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        a, b = Peer("a", files), Peer("b", files)
        go, heard = asyncio.Event(), []

        @a.event("slow")
        async def slow(data: Any) -> None:
            await go.wait()
            heard.append(data)

        @a.event("fails.rpc")
        def fails() -> None:
            raise RpcError({"code": "E"})

        @a.event("fails.*")
        async def fails_too() -> None:
            raise ValueError("secret")

        async with a, b:
            await b.emit("a", "slow", 1, ack="received")
            assert heard == []
            handled = asyncio.ensure_future(b.emit("a", "slow", 2, ack="handled"))
            await eventually(lambda: a.event_counts.received == 2)
            assert not handled.done()
            go.set()
            await handled
            assert heard == [1, 2]
            with pytest.raises(RpcError) as told:
                await b.emit("a", "fails.rpc", ack="handled")
            assert told.value.payload == {"code": "E"}
            with pytest.raises(RpcError) as masked:
                await b.emit("a", "fails.other", ack="handled")
            assert masked.value.payload == MASKED_ERROR
            assert f"errorId {masked.value.error_id}" in caplog.text
            with pytest.raises(MeshError, match="no handler takes the event nobody") as refused:
                await b.emit("a", "nobody", ack="received")
            assert (refused.value.code, refused.value.delivery) == ("UNIMPLEMENTED", "refused")
            with pytest.raises(MeshError, match="no handler"):
                await b.emit("a", "nobody", ack="handled")
            await b.emit("a", "fails.rpc", ack="received")
            await b.emit("a", "nobody")
            await eventually(lambda: a.event_counts == EventCounts(received=8, unhandled=3, failed=3))
            assert b.event_counts == EventCounts(sent=8, acknowledged=3, unroutable=2)
            with pytest.raises(ValueError, match="ack must be 'received', 'handled' or None; got 'later'"):
                await b.emit("a", "slow", ack="later")

    run(test())


def test_an_acknowledgement_that_does_not_come_in_time_cancels_the_handlers(files: str) -> None:
    async def test() -> None:
        a, b = Peer("a", files), Peer("b", files)
        ends: List[str] = []

        @a.event("slow")
        async def slow() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise

        async with a, b:
            with pytest.raises(MeshError, match="DEADLINE_EXCEEDED"):
                await b.emit("a", "slow", ack="handled", timeout=0.2)
            await eventually(lambda: ends == ["cancelled"])
            assert b.event_counts == EventCounts(sent=1, lost=1)
            waiting = asyncio.ensure_future(b.emit("a", "slow", ack="handled"))
            await eventually(lambda: a.event_counts.received == 2)
            waiting.cancel()
            await eventually(lambda: ends == ["cancelled"] * 2)

    run(test())


def test_handlers_that_nobody_waits_for_go_on_when_the_sender_is_gone(files: str) -> None:
    async def test() -> None:
        a, b = Peer("a", files), Peer("b", files)
        go, heard = asyncio.Event(), []

        @a.event("slow")
        async def slow(data: Any) -> None:
            await go.wait()
            heard.append(data)

        async with a:
            async with b:
                await b.emit("a", "slow", 1)
                await b.emit("a", "slow", 2, ack="received")
            go.set()
            await eventually(lambda: heard == [1, 2])

    run(test())


def test_the_packets_of_events_are_as_everybody_writes_them(files: str) -> None:
    async def test() -> None:
        peer = Peer("a", files)

        @peer.event("note")
        def note(data: Any) -> None:
            if data == "bad":
                raise RpcError("bad")

        async with peer, raw_client(peer) as client:
            client.open_packets(x_mesh_listen="false")
            client.send('{"id":1,"event":true,"pattern":"note"}')
            client.send('{"id":2,"event":true,"pattern":"note","ack":"handled"}')
            client.send('{"id":3,"event":true,"pattern":"nobody"}')
            client.send('{"id":4,"event":true,"pattern":"note","data":"bad","ack":"handled"}')
            client.send('{"id":5,"event":true,"pattern":"note","ack":"handled","timeout":0}')
            client.send('{"id":6,"event":true,"pattern":"note","timeout":"soon"}')
            client.send('{"id":7,"event":true,"pattern":"note","ack":{"odd":1}}')
            answers = {answer["id"]: answer for answer in await client.expect(7)}
            for done in (1, 2, 7):
                assert answers[done] == {"id": done, "isDisposed": True}
            assert (answers[3]["err"]["code"], answers[3]["err"]["delivery"]) == ("UNIMPLEMENTED", "refused")
            assert answers[4]["err"] == {"status": "error", "message": "bad"}
            assert answers[5]["err"]["code"] == "DEADLINE_EXCEEDED"
            assert answers[6]["err"]["code"] == "INVALID_ARGUMENT"
            sending = asyncio.ensure_future(peer.to("raw").emit("e", 1, ack="handled", timeout=3))
            [packet] = (await client.expect(8))[7:]
            assert list(packet) == ["id", "event", "pattern", "data", "ack", "timeout"]
            assert {**packet, "timeout": 0} == {
                "id": 1,
                "event": True,
                "pattern": "e",
                "data": 1,
                "ack": "handled",
                "timeout": 0,
            }
            client.send('{"id":1,"isDisposed":true}')
            await sending

    run(test())


def test_events_that_are_still_queued_when_their_channel_breaks_are_lost(
    files: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with Peer("a", files) as peer, raw_client(peer) as client:
            client.open_packets(x_mesh_listen="false")
            await peer.emit("raw", "small", 1)
            await client.expect(1)
            client.transport.pause_reading()  # its window of 64 KiB is soon full
            for _ in range(3):
                await peer.emit("raw", "note", "x" * 200_000)
            assert peer.event_counts == EventCounts(sent=4)
            client.transport.abort()
            await eventually(lambda: peer.event_counts == EventCounts(sent=1, lost=3))
            assert "3 event(s) for raw" in caplog.text

    run(test())


def test_a_part_1_peer_is_asked_for_no_acknowledgement(redis_server: RedisServer) -> None:
    async def test() -> None:
        options = ["--registry", redis_server.url, "--service", "old"]
        async with script("tests/part1_peer.py", *options) as old, Peer("new", redis_server.url) as new:
            await next_line(old, "ready")
            with pytest.raises(MeshError, match="old acknowledges no events") as caught:
                await new.emit("old", "note", ack="received")
            assert (caught.value.code, caught.value.delivery) == ("UNIMPLEMENTED", "refused")
            await new.emit("old", "note", "plain")
            assert json.loads((await next_line(old, "frame"))[6:]) == {"pattern": "note", "data": "plain"}

    run(test())


def test_broadcast_reaches_every_node_and_says_which(files: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        nodes = [Peer("a", files) for _ in range(3)]
        b = Peer("b", files)
        heard: List[int] = []
        for number, node in enumerate(nodes):

            @node.event("note")
            async def note(data: Any, number: int = number) -> None:
                if data == number:
                    raise RpcError("not me")
                heard.append(number)

        async with nodes[0], nodes[1], nodes[2], b:
            ids = {node.node_id for node in nodes}
            await eventually_async(lambda: b.broadcast("a", "note"), lambda got: set(got) == ids)
            assert set(await b.to("a").broadcast("note", ack="received")) == ids
            await eventually(lambda: set(heard) == {0, 1, 2})
            before = b.event_counts.lost
            got = await b.broadcast("a", "note", 1, ack="handled")
            assert set(got) == ids - {nodes[1].node_id}
            assert "the event note did not reach a node of a" in caplog.text
            assert b.event_counts.lost == before  # it arrived: its handler failed
            with pytest.raises(MeshError, match="no handler"):
                await b.broadcast("a", "nobody", ack="received")
            with pytest.raises(MeshError, match="the registry names no node"):
                await b.broadcast("nobody", "note", timeout=0.2)
            assert b.event_counts.unroutable == 4

    run(test())


def test_a_broadcast_to_the_node_that_calls_reaches_that_node_alone(files: str) -> None:
    async def test() -> None:
        callers = [Peer("b", files), Peer("b", files)]
        a = Peer("a", files)
        heard: List[str] = []

        @a.handler("ask")
        async def ask(data: Any, ctx: Context) -> List[str]:
            return await ctx.client.broadcast("note", ack="handled")

        for caller in callers:

            @caller.event("note")
            def note(data: Any, ctx: Context, node_id: str = caller.node_id) -> None:
                heard.append(node_id)

        async with a, callers[0], callers[1]:
            assert await callers[0].call("a", "ask") == [callers[0].node_id] == heard

    run(test())


async def eventually_async(ask: Any, good: Any) -> None:
    """Asks until the answer is good: nodes are found one after another, and nothing tells of the last."""
    for _ in range(200):
        if good(await ask()):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the answer was never good")


def test_publish_reaches_one_node_of_every_service_that_announced_a_handler(registry: str) -> None:
    async def test() -> None:
        heard: List[str] = []

        def node(service: str, pattern: str) -> Peer:
            peer = Peer(service, registry)

            @peer.event(pattern)
            def note() -> None:
                heard.append(service)

            return peer

        orders, more = node("orders", "user.created"), node("orders", "user.created")
        mail, other, b = node("mail", "user.>"), node("other", "user.*.x"), Peer("b", registry)
        async with orders, more, mail, other, b:
            receipts = await b.publish("user.created", {"id": 7}, ack="handled")
            assert [receipt.service for receipt in receipts] == ["mail", "orders"]
            assert receipts[0].node_id == mail.node_id
            assert receipts[1].node_id in (orders.node_id, more.node_id)
            assert sorted(heard) == ["mail", "orders"]
            assert await b.publish("nobody.cares") == []
            late = node("late", "nobody.*")
            async with late:
                await eventually_async(lambda: b.publish("nobody.cares"), lambda got: len(got) == 1)
            assert b.event_counts.unroutable >= 1
            assert b.event_counts.lost == 0

    run(test())


def test_the_record_says_what_a_node_takes(files: str, tmp_path: Path) -> None:
    async def test() -> None:
        peer = Peer("a", files, metadata={"zone": "1"})
        peer.event("user.created")(print)
        peer.event("orders.*")(print)
        peer.event("orders.*")(len)
        peer.handler("orders.get", idempotent=True)(print)
        peer.handler("orders.put")(print)
        async with peer, Peer("b", files):
            [path] = (tmp_path / "mesh" / "a").glob("*.json")
            assert json.loads(path.read_text())["metadata"] == {
                "zone": "1",
                "mesh": {"events": ["orders.*", "user.created"], "idempotent": ["orders.get"]},
            }
            [path] = (tmp_path / "mesh" / "b").glob("*.json")
            assert json.loads(path.read_text())["metadata"] == {}
        with pytest.raises(ValueError, match=r"'mesh'.*reserved"):
            Peer("a", files, metadata={"mesh": {}})

    run(test())


def test_a_folder_in_which_nothing_was_written_for_long_is_no_subscriber(files: str, tmp_path: Path) -> None:
    async def test() -> None:
        async with Peer("b", files) as peer:
            for name in ("old", "new", "bad name", ".hidden"):
                (tmp_path / "mesh" / name).mkdir()
            os.utime(tmp_path / "mesh" / "old", (0, 0))
            assert await peer._registry.subscribers() == ["b", "new"]

    run(test())


@pytest.mark.parametrize("mesh", [None, 7, [], {"events": "a"}, {"events": {"a": 1}}, {"events": [7, None]}])
def test_what_others_announce_in_a_wrong_shape_is_left_out(mesh: Any) -> None:
    record: Dict[str, Any] = {"id": "1", "service_name": "a", "host": "h", "port": 1, "metadata": {"mesh": mesh}}
    assert events_of(parse_record(record, "a", "1")) == []


def test_redis_knows_the_services_that_take_events(redis_server: RedisServer) -> None:
    async def test() -> None:
        peer, other = Peer("a", redis_server.url), Peer("b", redis_server.url)
        peer.event("note")(print)
        client = redis.asyncio.Redis.from_url(redis_server.url)
        async with peer, other:
            assert await client.zrange("mesh:subscribers", 0, -1) == [b"a"]
            await client.zadd("mesh:subscribers", {"bad name": 9e15, "\xff": 9e15, "gone": 1})
            assert [receipt.service for receipt in await other.publish("note")] == ["a"]
        await client.connection_pool.disconnect()

    run(test())


def test_publish_waits_for_a_registry_that_is_away_no_longer_than_its_timeout(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        caplog.set_level(logging.CRITICAL)
        async with Peer("b", redis_server.url) as peer:
            redis_server.stop()
            with pytest.raises(MeshError, match="has not said yet who takes events") as caught:
                await peer.publish("note", timeout=0.3)
            assert (caught.value.code, caught.value.delivery) == ("UNAVAILABLE", "not-sent")
            assert peer.event_counts == EventCounts(lost=1)

    run(test())
