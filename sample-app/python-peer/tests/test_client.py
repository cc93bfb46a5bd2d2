"""Calls that are part of another call."""

from __future__ import annotations

import asyncio
from typing import Any, Dict, List, Optional

import pytest

from nestjs_mesh import Context, MeshError, Peer

from .conftest import eventually, raw_client, run


def test_a_nested_call_ends_with_the_outer_one_and_carries_its_metadata_on(files: str) -> None:
    async def test() -> None:
        inner, outer, caller = Peer("inner", files), Peer("outer", files), Peer("caller", files)

        @inner.handler("look")
        def look(data: Any, ctx: Context) -> Dict[str, Any]:
            return {"metadata": ctx.metadata, "left": ctx.remaining()}

        @outer.handler("look")
        async def relay(timeout: Optional[float], ctx: Context) -> Any:
            return await outer.with_(ctx).call("inner", "look", timeout=timeout, metadata={"own": "2"})

        async with inner, outer, caller:
            for own, at_most in ((None, 10.0), (0, 10.0), (2.0, 2.0)):
                seen = await caller.call("outer", "look", own, timeout=10, metadata={"trace": "1", "own": "1"})
                assert seen["metadata"] == {"trace": "1", "own": "2"}
                assert 0 < seen["left"] <= at_most

    run(test())


def test_a_nested_call_after_the_deadline_of_the_outer_one_is_not_sent(files: str) -> None:
    async def test() -> None:
        async with Peer("a", files) as peer:
            late = Context("p", None, deadline=asyncio.get_event_loop().time() - 1)  # type: ignore[arg-type]
            with pytest.raises(MeshError, match="part of is over") as caught:
                await peer.with_(late).call("b", "x")
            assert (caught.value.code, caught.value.delivery) == ("DEADLINE_EXCEEDED", "not-sent")

    run(test())


def test_cancelling_a_call_cancels_those_that_its_handler_waits_for(files: str) -> None:
    async def test() -> None:
        inner, outer, caller = Peer("inner", files), Peer("outer", files), Peer("caller", files)
        told: List[str] = []

        @inner.handler("wait")
        async def wait() -> None:
            told.append("began")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                told.append("cancelled")
                raise

        @outer.handler("wait")
        async def relay(data: Any, ctx: Context) -> None:
            await outer.with_(ctx).call("inner", "wait")

        async with inner, outer, caller:
            call = asyncio.ensure_future(caller.call("outer", "wait"))
            await eventually(lambda: told == ["began"])
            call.cancel()
            await eventually(lambda: told == ["began", "cancelled"])

    run(test())


def test_the_headers_of_a_channel_are_metadata_of_every_call_on_it(files: str) -> None:
    async def test() -> None:
        peer = Peer("a", files)

        @peer.handler("metadata")
        def metadata(data: Any, ctx: Context) -> Any:
            return ctx.metadata

        async with peer, raw_client(peer) as client:
            client.request(x_service_name="part1", tenant="acme", trace="0", x_mesh_later="no", date="no")
            client.send('{"id":1,"pattern":"metadata","metadata":{"trace":"1"}}')
            [answer] = await client.expect(1)
            assert answer["response"] == {"tenant": "acme", "trace": "1"}

    run(test())
