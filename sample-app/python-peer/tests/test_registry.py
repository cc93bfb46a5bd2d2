"""Announcing and finding: the published keys, the shared files, bad records, and a Redis that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
import uuid
from pathlib import Path
from typing import Any, AsyncIterator, Dict, List

import pytest
import redis.asyncio

from nestjs_mesh import MeshError, Peer
from nestjs_mesh.file_registry import FileRegistry
from nestjs_mesh.redis_registry import RedisRegistry
from nestjs_mesh.registry import check_service, open_registry, parse_record

from .conftest import RedisServer, eventually, free_port, run


@contextlib.asynccontextmanager
async def client(server: RedisServer) -> AsyncIterator[Any]:
    """A plain Redis client, decoding text."""
    connection: Any = redis.asyncio.Redis.from_url(server.url, decode_responses=True)
    try:
        yield connection
    finally:
        await getattr(connection, "aclose", connection.close)()


def record(service: str, node_id: str, **changes: Any) -> Dict[str, Any]:
    return {"id": node_id, "service_name": service, "host": "127.0.0.1", "port": 4000, "metadata": {}, **changes}


def test_the_redis_keys_are_those_of_the_protocol_and_gone_after_leaving(redis_server: RedisServer) -> None:
    async def test() -> None:
        async with client(redis_server) as store:
            pubsub = store.pubsub(ignore_subscribe_messages=True)
            await pubsub.subscribe("mesh:events")
            async with Peer("orders", redis_server.url, metadata={"zone": "a"}) as peer:
                key = f"mesh:service:orders:{peer.node_id}"
                assert sorted(await store.keys("*")) == ["mesh:changes:orders", "mesh:index:orders", key]
                expected = record("orders", peer.node_id, port=peer.port, metadata={"zone": "a"})
                assert json.loads(await store.get(key)) == expected
                assert 5000 < await store.pttl(key) <= 10_000
                score = await store.zscore("mesh:index:orders", peer.node_id)
                assert 5000 < score - time.time() * 1000 <= 10_000
                assert uuid.UUID(peer.node_id).version == 4
            # The log of changes ends by itself.
            assert await store.keys("*") == ["mesh:changes:orders"]
            assert 0 < await store.pttl("mesh:changes:orders") <= 3_600_000
            events: List[Any] = []
            while len(events) < 2:
                message = await pubsub.get_message(timeout=5)
                assert message is None or message["channel"] == "mesh:events"
                events += [json.loads(message["data"])] if message else []
            left = {"event": "leave", "service": "orders", "id": peer.node_id}
            assert events == [{**left, "event": "join", "record": expected}, left]
            await getattr(pubsub, "aclose", pubsub.close)()

    run(test())


def test_the_file_is_the_one_that_others_read_and_gone_after_leaving(tmp_path: Path) -> None:
    async def test() -> None:
        async with Peer("@team/orders", f"file:{tmp_path}") as peer:
            path = tmp_path / "%40team%2Forders" / f"{peer.node_id}.json"
            content = json.loads(path.read_text("utf-8"))
            left = content.pop("expires_at") - time.time() * 1000
            assert content == record("@team/orders", peer.node_id, port=peer.port)
            assert 5000 < left <= 10_000
            assert [entry.name for entry in path.parent.iterdir()] == [path.name]
        assert not path.exists()

    run(test())


@pytest.mark.parametrize(
    "value, reason",
    [
        ("{", "Expecting"),
        ("[1]", "not a JSON object"),
        ("[" * 100_000, "nested too deep"),
        (record("s", "other"), "id 'other'"),
        (record("other", "n"), "service_name 'other'"),
        (record("s", "n", port=0), "port 0"),
        (record("s", "n", port=70000), "port 70000"),
        (record("s", "n", port="80"), "port '80'"),
        (record("s", "n", port=True), "port True"),
        (record("s", "n", host=""), "host ''"),
    ],
)
def test_a_bad_record_is_refused_with_the_reason(value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_record(value, "s", "n")


def test_bad_records_are_ignored_with_one_warning_and_good_ones_found(
    registry: str, redis_server: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        store = open_registry(registry)
        await store.connect()
        good, bad = str(uuid.uuid4()), str(uuid.uuid4())
        for node_id, value in ((good, record("s", good)), (bad, record("s", bad, port=0))):
            if registry.startswith("file:"):
                directory = tmp_path / "mesh" / "s"
                directory.mkdir(exist_ok=True)
                content = {**value, "expires_at": int(time.time() * 1000) + 5000}
                (directory / f"{node_id}.json").write_text(json.dumps(content))
                (directory / f".{node_id}.json").write_text("a draft")
                (directory / "notes.txt").write_text("no record")
            else:
                async with client(redis_server) as connection:
                    await connection.set(f"mesh:service:s:{node_id}", json.dumps(value), ex=10)
        for _ in range(3):
            assert [found.id for found in await store.find("s")] == [good]
        await store.close()

    with caplog.at_level(logging.WARNING):
        run(test())
    warnings = [r.getMessage() for r in caplog.records]
    assert len(warnings) == 1 and "port 0" in warnings[0]


def test_expired_files_are_ignored_and_old_ones_cleared_away(tmp_path: Path) -> None:
    async def test() -> None:
        store = FileRegistry(str(tmp_path))
        directory = tmp_path / "s"
        directory.mkdir()
        for name, age in (("fresh", -5), ("expired", 1), ("old", 61)):
            content = {**record("s", name), "expires_at": int((time.time() - age) * 1000)}
            (directory / f"{name}.json").write_text(json.dumps(content))
        assert [found.id for found in await store.find("s")] == ["fresh"]
        assert sorted(path.stem for path in directory.iterdir()) == ["expired", "fresh"]

    run(test())


def test_a_node_that_keeps_only_part_1_is_found_by_scan_and_put_in_the_index(redis_server: RedisServer) -> None:
    async def test() -> None:
        store = RedisRegistry(redis_server.url)
        await store.connect()
        async with client(redis_server) as connection:
            await connection.set("mesh:service:old:n1", json.dumps(record("old", "n1")), ex=10)
            await connection.set("mesh:service:older:n2", json.dumps(record("older", "n2")), ex=10)
            assert [found.id for found in await store.find("old")] == ["n1"]
            assert await connection.zrange("mesh:index:old", 0, -1) == ["n1"]
            # One walk serves all services, and everybody.
            assert await connection.zrange("mesh:index:older", 0, -1) == ["n2"]
            assert [found.id for found in await store.find("older")] == ["n2"]
            await connection.delete("mesh:service:old:n1")
            assert await store.find("old") == []
        await store.close()

    run(test())


def test_glob_characters_cannot_widen_a_search(redis_server: RedisServer) -> None:
    async def test() -> None:
        store = RedisRegistry(redis_server.url)
        await store.connect()
        async with client(redis_server) as connection:
            await connection.set("mesh:service:secret:n1", json.dumps(record("secret", "n1")), ex=10)
        for name in ("*", "secre?", "[s]ecret", "s*"):
            assert await store.find(name) == []
        await store.close()

    run(test())


@pytest.mark.parametrize("name", ["", "*", "a:b", "a b", "-a", "x" * 129, "naïve", "a\n", None])
def test_a_service_name_that_could_do_harm_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="service name"):
        check_service(name)
    with pytest.raises(ValueError, match="service name"):
        Peer(name, "file:x")


@pytest.mark.parametrize("url", ["", "localhost", "http://x", "file:", "memory:x"])
def test_a_registry_that_is_none_is_refused_with_what_is_allowed(url: str) -> None:
    with pytest.raises(ValueError, match="registry must be"):
        open_registry(url)


@pytest.mark.parametrize(
    "url, path",
    [("file:a/b", "a/b"), ("file:/a/b", "/a/b"), ("file:///a/b", "/a/b"), ("file:/a%20b/100%", "/a%20b/100%")],
)
def test_file_registries_have_relative_and_absolute_forms(url: str, path: str) -> None:
    assert open_registry(url).url == f"file:{path}"


def test_a_registry_that_is_away_at_the_start_fails_fast_and_clearly() -> None:
    async def test() -> None:
        began = time.monotonic()
        with pytest.raises(MeshError, match=r"cannot use the registry redis://127\.0\.0\.1") as caught:
            await Peer("a", f"redis://user:secret@127.0.0.1:{free_port()}").start()
        assert time.monotonic() - began < 5
        assert caught.value.code == "UNAVAILABLE"
        assert "secret" not in str(caught.value)

    run(test())


def test_a_wrong_password_is_told_as_that(tmp_path: Path) -> None:
    async def test() -> None:
        server = RedisServer(tmp_path, "--requirepass", "right")
        server.start()
        try:
            for login in ("", ":wrong@"):
                with pytest.raises(MeshError, match="refused the user name or password") as caught:
                    await Peer("a", f"redis://{login}127.0.0.1:{server.port}").start()
                assert caught.value.code == "UNAUTHENTICATED"
            async with Peer("a", f"redis://:right@127.0.0.1:{server.port}"):
                pass
        finally:
            server.stop()

    run(test())


def test_a_flushed_redis_is_healed_in_one_beat(redis_server: RedisServer) -> None:
    async def test() -> None:
        async with Peer("a", redis_server.url), client(redis_server) as store:
            await store.flushall()
            until = time.monotonic() + 3
            while len(await store.keys("mesh:[is]*")) != 2:
                assert time.monotonic() < until
                await asyncio.sleep(0.05)

    run(test())


def test_calls_go_on_while_redis_is_away_and_the_node_is_back_when_it_is(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        a = Peer("a", redis_server.url)
        a.handler("ping")(lambda: "pong")
        async with a, Peer("b", redis_server.url) as b:
            assert await b.call("a", "ping") == "pong"
            redis_server.stop()
            # Long enough for each node to miss two beats: what is tested is that nothing happens meanwhile.
            await asyncio.sleep(4.5)
            assert await b.call("a", "ping") == "pong"
            lost = [r for r in caplog.records if "known nodes go on being used" in r.getMessage()]
            assert len(lost) == 2
            redis_server.start()
            await eventually(lambda: sum("is back" in r.getMessage() for r in caplog.records) == 2)
            async with client(redis_server) as store:
                assert len(await store.keys("mesh:service:*")) == 2
            assert await b.call("a", "ping") == "pong"
            redis_server.stop()

    run(test(), timeout=40)


def test_a_new_node_is_found_by_its_hint_well_within_one_beat(redis_server: RedisServer) -> None:
    async def test() -> None:
        late = Peer("late", redis_server.url)
        late.handler("ping")(lambda: "pong")
        async with Peer("b", redis_server.url) as b:
            call = asyncio.ensure_future(b.call("late", "ping"))
            # Gives the caller the time to look once and find nothing.
            await asyncio.sleep(0.3)
            began = time.monotonic()
            async with late:
                assert await call == "pong"
                assert time.monotonic() - began < 1.5

    run(test())
