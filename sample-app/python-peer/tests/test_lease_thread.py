"""Event loops that are blocked for longer than a lease, with and without a thread for it, beside a real Redis."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any, List

import pytest
import redis

from nestjs_mesh import MeshError, Peer, lease_thread, redis_registry
from nestjs_mesh import registry as registry_module
from nestjs_mesh.registry import NodeRecord

from .conftest import RedisServer, eventually, free_port, run

TTL = 1.0
HEARTBEAT = 0.2


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_registry, "RECORD_TTL", TTL)
    monkeypatch.setattr(registry_module, "HEARTBEAT_INTERVAL", HEARTBEAT)
    monkeypatch.setattr(lease_thread, "HEARTBEAT_INTERVAL", HEARTBEAT)


def block(seconds: float) -> None:
    """Computes: nothing else runs in this event loop."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def looks_while_blocked(store: Any, key: str, seconds: float) -> List[bool]:
    """Whether the key was there at each look of another thread, while this one was blocked."""
    seen: List[bool] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):  # that something never happens has no event to wait on
            seen.append(bool(store.exists(key)))

    looker = threading.Thread(target=look)
    looker.start()
    block(seconds)
    over.set()
    looker.join()
    return seen


@pytest.mark.parametrize("threaded", [True, False])
def test_a_blocked_loop_loses_its_record_only_without_the_thread(redis_server: RedisServer, threaded: bool) -> None:
    async def test() -> None:
        with redis.Redis.from_url(redis_server.url) as store:
            async with Peer("busy", redis_server.url, lease_thread=threaded) as peer:
                key = f"mesh:service:busy:{peer.node_id}"
                seen = looks_while_blocked(store, key, 3 * TTL)
                assert len(seen) > 5
                assert all(seen) is threaded
                await eventually(lambda: store.exists(key))
            assert not store.exists(key)

    run(test())


def test_an_event_loop_that_is_blocked_for_too_long_is_withdrawn_until_it_goes_on(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_thread, "MAX_BLOCKED", 0.5)

    async def test() -> None:
        with redis.Redis.from_url(redis_server.url) as store:
            async with Peer("busy", redis_server.url, lease_thread=True) as peer:
                key = f"mesh:service:busy:{peer.node_id}"
                assert not all(looks_while_blocked(store, key, 3 * TTL))
                await eventually(lambda: store.exists(key))

    run(test())


def test_the_thread_ends_with_the_peer_and_with_a_start_that_fails(redis_server: RedisServer) -> None:
    async def test() -> None:
        async with Peer("busy", redis_server.url, lease_thread=True):
            assert [thread for thread in threading.enumerate() if thread.name == "nestjs_mesh lease"]
        record = NodeRecord(str(uuid.uuid4()), "busy", "127.0.0.1", 4000)
        with pytest.raises(MeshError):
            await lease_thread.LeaseThread(f"redis://127.0.0.1:{free_port()}", record).start()
        assert not [thread for thread in threading.enumerate() if thread.name == "nestjs_mesh lease"]

    run(test())
