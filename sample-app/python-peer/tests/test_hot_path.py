"""What must hold however short the way of a call is made: deadlines, tasks, context variables, turns."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any, Awaitable, Callable, List

import pytest

from nestjs_mesh import MeshError, Peer
from nestjs_mesh.deadlines import Deadlines

from .conftest import eventually, run

SEEN: contextvars.ContextVar[str] = contextvars.ContextVar("SEEN", default="nothing")


class Noted:
    """What has a deadline; runs something when it is over."""

    def __init__(self, then: Callable[[], Any]) -> None:
        self._then = then

    def expire(self) -> None:
        self._then()


def test_what_is_late_expires_once_never_early_and_the_rest_not_at_all() -> None:
    async def test() -> None:
        loop, expired = asyncio.get_event_loop(), []
        deadlines = Deadlines(loop)
        start = loop.time()

        def note(name: str, after: float) -> Noted:
            noted = Noted(lambda: expired.append((name, loop.time() >= start + after - 0.001)))
            deadlines.add(noted, start + after)
            return noted

        note("later", 0.06)
        gone = note("gone", 0.03)
        note("first", 0.02)
        note("never", 60)
        deadlines.remove(gone)
        deadlines.remove(gone)
        await eventually(lambda: len(expired) == 2)
        assert expired == [("first", True), ("later", True)]
        deadlines.close()

    run(test())


def test_what_expires_may_add_and_remove_others() -> None:
    async def test() -> None:
        loop, expired = asyncio.get_event_loop(), []
        deadlines = Deadlines(loop)
        other = Noted(lambda: expired.append("other"))

        def first() -> None:
            expired.append("first")
            deadlines.remove(other)
            deadlines.add(Noted(lambda: expired.append("added")), loop.time())

        deadlines.add(Noted(first), loop.time() - 1)
        deadlines.add(other, loop.time() - 1)
        await eventually(lambda: "added" in expired)
        assert expired == ["first", "added"]

    run(test())


def test_a_call_that_expires_leaves_those_beside_it_alone(files: str) -> None:
    async def test() -> None:
        a, b = Peer("a", files), Peer("b", files)
        go = asyncio.Event()

        @a.handler("wait")
        async def wait(data: Any) -> Any:
            await go.wait()
            return data

        async with a, b:
            go.set()
            await b.call("a", "wait")  # so that the short timeouts below are not spent on connecting
            go.clear()
            calls = [asyncio.ensure_future(b.call("a", "wait", n, timeout=0.2 if n % 2 else 20)) for n in range(6)]
            await asyncio.wait(calls[1::2])
            go.set()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert results[::2] == [0, 2, 4]
            assert [getattr(error, "code", error) for error in results[1::2]] == ["DEADLINE_EXCEEDED"] * 3

    run(test())


def test_a_handler_is_in_a_task_of_its_own_from_its_first_line_on(files: str) -> None:
    async def test() -> None:
        a, b = Peer("a", files), Peer("b", files)

        @a.handler("task")
        async def task(data: Any) -> bool:
            first = asyncio.current_task()
            if data == "waits":
                await asyncio.sleep(0)
            return first is not None and first is asyncio.current_task()

        @a.handler("sees")
        async def sees(data: str) -> List[str]:
            before = SEEN.get()
            SEEN.set(data)
            await asyncio.sleep(0)
            return [before, SEEN.get()]

        async with a, b:
            assert await b.call("a", "task", "waits") and await b.call("a", "task", "does not")
            seen = await asyncio.gather(*(b.call("a", "sees", str(n)) for n in range(3)))
            assert seen == [["nothing", str(n)] for n in range(3)]
            assert SEEN.get() == "nothing"

    run(test())


@pytest.mark.parametrize("waits_first", [False, True])
def test_a_handler_that_cancels_itself_answers_cancelled(files: str, waits_first: bool) -> None:
    async def test() -> None:
        a, b = Peer("a", files), Peer("b", files)

        @a.handler("give up")
        async def give_up() -> None:
            if waits_first:
                await asyncio.sleep(0)
            own = asyncio.current_task()
            assert own is not None
            own.cancel()
            await asyncio.sleep(0)

        async with a, b:
            with pytest.raises(MeshError, match="CANCELLED"):
                await b.call("a", "give up")

    run(test())


def test_a_handler_that_ends_its_own_session_before_it_first_waits_is_cancelled(files: str) -> None:
    async def test() -> None:
        a, b = Peer("a", files), Peer("b", files)
        ended: List[str] = []

        @a.handler("hang up")
        async def hang_up() -> None:
            try:
                for session in list(a._router.sessions):
                    session.connection.fail(MeshError("ABORTED", "hung up"))
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        async with a, b:
            with pytest.raises(MeshError, match="UNAVAILABLE"):
                await b.call("a", "hang up", timeout=5)
            await eventually(lambda: ended == ["cancelled"])

    run(test())


def test_a_call_cancelled_before_its_handler_has_begun_leaves_nothing_open(files: str) -> None:
    async def test() -> None:
        a, b = Peer("a", files), Peer("b", files)

        @a.handler("echo", max_concurrency=1)
        async def echo(data: Any) -> Any:
            return data

        async with a, b:
            await b.call("a", "echo", 0)
            for _ in range(20):  # the request and the cancel arrive in one read
                call = asyncio.ensure_future(b.call("a", "echo", 1))
                await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait({call})
            assert await b.call("a", "echo", 2) == 2
            assert not any(session.busy for session in a._router.sessions)

    run(test())


def test_calls_take_turns_over_the_nodes_that_come_and_go(files: str) -> None:
    async def test() -> None:
        nodes = [Peer("a", files) for _ in range(3)]
        b = Peer("b", files)
        for node in nodes:
            node.handler("who")(_answer(node.node_id))

        async def who(times: int) -> List[str]:
            return [await b.call("a", "who") for _ in range(times)]

        async def settled(expected: int) -> None:
            until = asyncio.get_event_loop().time() + 10
            while len(set(await who(2 * expected))) != expected:
                assert asyncio.get_event_loop().time() < until

        async with b, nodes[0], nodes[1]:
            await settled(2)
            answers = await who(40)
            assert sorted(answers.count(node.node_id) for node in nodes) == [0, 20, 20]
            async with nodes[2]:
                await settled(3)
                answers = await who(30)
                assert [answers.count(node.node_id) for node in nodes] == [10, 10, 10]
            assert set(await who(10)) == {nodes[0].node_id, nodes[1].node_id}

    run(test())


def test_more_events_at_once_than_may_run_at_once_are_all_taken_by_handlers_that_do_not_wait(files: str) -> None:
    async def test() -> None:
        a, b = Peer("a", files), Peer("b", files)
        taken: List[int] = []

        @a.event("n")
        def take(data: int) -> None:
            taken.append(data)

        async with a, b:
            for n in range(25_000):
                await b.emit("a", "n", n)
            await eventually(lambda: len(taken) == 25_000)
            assert taken == list(range(25_000))

    run(test())


def _answer(value: str) -> Callable[[], Awaitable[str]]:
    async def answer() -> str:
        return value

    return answer
