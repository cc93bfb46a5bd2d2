"""Clients of a service with many nodes: each has connections with some of them, and reaches all of them."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from pathlib import Path
from typing import Any, List, Set

import pytest

from nestjs_mesh import Peer, router
from nestjs_mesh.registry import NodeRecord
from nestjs_mesh.subset import Ranking, first

from .conftest import eventually, run


def records(count: int) -> List[NodeRecord]:
    return [NodeRecord(str(uuid.uuid4()), "work", "127.0.0.1", 1) for _ in range(count)]


def subset(own_id: str, nodes: List[NodeRecord], size: float) -> List[str]:
    return first(Ranking(own_id).of(nodes), size, lambda node_id: True)


def test_one_node_that_joins_or_leaves_changes_one_member_at_most() -> None:
    nodes = records(60)
    for _ in range(50):
        own_id = str(uuid.uuid4())
        before = subset(own_id, nodes[1:], 20)
        assert before == subset(own_id, nodes[:0:-1], 20)
        after = subset(own_id, nodes, 20)
        assert len(set(before) - set(after)) <= 1
        assert set(after) - set(before) <= {nodes[0].id}


def test_clients_have_subsets_of_their_own_which_together_reach_all() -> None:
    nodes = records(60)
    reached: Set[str] = set()
    for _ in range(60):
        reached.update(subset(str(uuid.uuid4()), nodes, 20))
    assert len(reached) == 60


@pytest.mark.parametrize("size", [-1, 1.5, "20", True, None])
def test_a_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match="subset_size must be a whole number of nodes"):
        Peer("caller", "file:/tmp/none", subset_size=size)


async def serve(registry: str, count: int, heard: List[str]) -> List[Peer]:
    peers = [Peer("work", registry) for _ in range(count)]
    for peer in peers:

        def bind(peer: Peer) -> None:
            @peer.handler("who")
            def who(data: Any, ctx: Any) -> str:
                return peer.node_id

            @peer.event("note")
            def note(data: Any, ctx: Any) -> None:
                heard.append(peer.node_id)

        bind(peer)
    await asyncio.gather(*(peer.start() for peer in peers))
    return peers


def test_calls_go_to_the_subset_broadcasts_to_all_and_idle_connections_end(tmp_path: Path) -> None:
    async def test() -> None:
        heard: List[str] = []
        registry = f"file:{tmp_path}"
        peers = await serve(registry, 12, heard)
        async with Peer("caller", registry, subset_size=3, idle_session=0.4) as caller:
            answers = [await caller.call("work", "who") for _ in range(30)]
            assert len(set(answers)) == 3
            members = set(answers)

            def dialled() -> Set[str]:
                return {s.record.id for s in caller._router.sessions if s.record is not None}

            assert dialled() == members
            assert len(await caller.broadcast("work", "note", 1)) == 12
            await eventually(lambda: len(heard) == 12)
            await eventually(lambda: dialled() == members)
            leaving = next(peer for peer in peers if peer.node_id in members)
            await leaving.close()
            later = {await caller.call("work", "who") for _ in range(30)}
            assert len(later) == 3 and leaving.node_id not in later and len(later & members) == 2
        async with Peer("caller", registry, subset_size=math.inf) as caller:
            assert len({await caller.call("work", "who") for _ in range(40)}) == 11
        await asyncio.gather(*(peer.close() for peer in peers))

    run(test())


def test_for_a_member_that_fails_the_next_in_rank_steps_in_only_until_it_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router, "FAILURE_COUNTS", 0.5)

    async def test() -> None:
        registry = f"file:{tmp_path}"
        peers = await serve(registry, 3, [])
        async with Peer("caller", registry, subset_size=2) as caller:

            async def called() -> Set[str]:
                return {await caller.call("work", "who") for _ in range(8)}

            await eventually(lambda: len(caller._router._view("work").found) == 3)
            members = await called()
            assert len(members) == 2
            failed = min(members)
            caller._router._failed_at[failed] = time.monotonic()
            caller._router._rings.clear()
            assert failed not in await called()
            assert caller._router.ready("work") is not None
            ring = caller._router._rings["work"]
            await eventually(lambda: ring.until <= time.monotonic())
            assert await called() == members
        await asyncio.gather(*(peer.close() for peer in peers))

    run(test())
