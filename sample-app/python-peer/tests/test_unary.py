"""Plain HTTP/2: any tool calls the handlers, and a supervisor learns how the node is."""

from __future__ import annotations

import asyncio
import json
from typing import Any, AsyncIterator, Dict, List, Optional, Tuple

import pytest

import nestjs_mesh.unary
import nestjs_mesh.unary_answer
from nestjs_mesh import Context, HttpError, MeshError, Peer, RpcError
from nestjs_mesh.errors import NO_HANDLER

from .conftest import eventually, raw_client, run

seen: Dict[str, List[Any]] = {}


def make_peer(registry: str, **options: Any) -> Peer:
    """A peer with one handler for each thing that an answer can be."""
    seen.update({"events": [], "ends": []})
    peer = Peer("a", registry, **options)

    @peer.handler("sum")
    async def add(data: Any) -> Any:
        return sum(data)

    @peer.handler("a/b c%ü")
    def odd() -> str:
        return "odd"

    @peer.handler({"cmd": "get", "by": "id"})
    def by_object(data: Any) -> Any:
        return {"id": data}

    @peer.handler("values")
    async def values(count: int) -> AsyncIterator[int]:
        try:
            for number in range(count):
                yield number
        finally:
            seen["ends"].append("closed")

    @peer.handler("context")
    def context(data: Any, ctx: Context) -> Any:
        return [data, ctx.metadata, ctx.peer.service, ctx.remaining() is not None]

    @peer.handler("wait")
    async def wait() -> None:
        seen["ends"].append("began")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen["ends"].append("cancelled")
            raise

    @peer.handler("fail")
    async def fail(how: str) -> Any:
        if how == "object":
            raise RpcError({"reason": "sold out"})
        if how == "text":
            raise RpcError("sold out")
        if how == "mesh":
            raise RpcError(MeshError("ABORTED", "changed meanwhile", details={"n": 1}))
        if how == "http":
            raise HttpError(404, "no order 7")
        if how == "ok":
            raise HttpError(200, "odd")
        if how == "long":
            raise RpcError("x" * 3000)
        if how == "not json":
            return {1}
        raise ValueError("a secret")

    @peer.handler("large")
    def large(size: int) -> str:
        return "x" * size

    @peer.event("orders.*")
    def note(data: Any, ctx: Context) -> None:
        seen["events"].append([data, ctx.pattern, ctx.metadata.get("x-trace")])

    return peer


async def ask(
    peer: Peer, path: str, body: Optional[bytes] = b"", method: str = "POST", **headers: str
) -> Tuple[int, Any]:
    """The status and the body of the answer; without a `body` the request is left open."""
    async with raw_client(peer) as client:
        client.request(method, path, **headers)
        client.plain = True
        if body is not None:
            client.send_bytes(body, end=True)
        await eventually(lambda: client.ended)
        assert "content-length" not in client.headers or method == "HEAD" or client.body
        return int(client.headers[":status"]), json.loads(client.body) if client.body else None


@pytest.mark.parametrize(
    "path, body, expected",
    [
        ("/rpc/sum", b"[2,40]", (200, 42)),
        ("/rpc/sum?x=1", b"[2,40]", (200, 42)),
        ("/rpc/a%2Fb%20c%25%C3%BC", b"", (200, "odd")),
        ("/rpc/a/b c%25ü".replace(" ", "%20").replace("ü", "%c3%bc"), b"", (200, "odd")),
        ("/rpc/%7B%22by%22%3A%22id%22%2C%22cmd%22%3A%22get%22%7D", b"7", (200, {"id": 7})),
        ("/rpc/values", b"1", (200, 0)),
        ("/rpc/values", b"0", (204, None)),
        ("/events/orders.new", b'{"id":7}', (202, None)),
        ("/events/nobody", b"", (202, None)),
    ],
)
def test_calls_and_events_are_answered_in_plain_json(
    files: str, path: str, body: bytes, expected: Tuple[int, Any]
) -> None:
    async def test() -> None:
        async with make_peer(files) as peer:
            assert await ask(peer, path, body, content_type="application/json; charset=utf-8") == expected

    run(test())


def test_metadata_the_caller_and_the_timeout_come_by_headers(files: str) -> None:
    async def test() -> None:
        async with make_peer(files) as peer:
            headers = {"x_mesh_metadata": "%7B%22a%22%3A%22%C3%A4%22%7D", "x_trace": "1", "x_mesh_timeout": "5000"}
            status, answer = await ask(peer, "/rpc/context", b"", x_service_name="curl", **headers)
            assert (status, answer) == (200, [None, {"x-trace": "1", "a": "ä"}, "curl", True])
            assert (await ask(peer, "/rpc/context", b"1"))[1] == [1, {}, "", False]
            await ask(peer, "/events/orders.new", b"[]", x_trace="2")
            await eventually(lambda: seen["events"] == [[[], "orders.new", "2"]])
            assert peer.event_counts.received == 1

    run(test())


@pytest.mark.parametrize(
    "how, status, error",
    [
        ("object", 500, {"code": "UNKNOWN", "message": "the handler failed", "details": {"reason": "sold out"}}),
        (
            "text",
            500,
            {"code": "UNKNOWN", "message": "sold out", "details": {"status": "error", "message": "sold out"}},
        ),
        (
            "http",
            404,
            {
                "code": "NOT_FOUND",
                "message": "no order 7",
                "details": {
                    "httpStatus": 404,
                    "response": {"message": "no order 7", "error": "Not Found", "statusCode": 404},
                },
            },
        ),
        ("mesh", 409, {"code": "ABORTED", "message": "changed meanwhile", "details": {"n": 1}}),
    ],
)
def test_what_a_handler_throws_is_readable(files: str, how: str, status: int, error: Any) -> None:
    async def test() -> None:
        async with make_peer(files) as peer:
            assert await ask(peer, "/rpc/fail", json.dumps(how).encode()) == (status, {"error": error})

    run(test())


@pytest.mark.parametrize("how", ["other", "not json"])
def test_what_is_masked_has_the_id_that_is_in_the_log(files: str, how: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with make_peer(files) as peer:
            status, answer = await ask(peer, "/rpc/fail", json.dumps(how).encode())
            assert (status, answer["error"]["message"]) == (500, "Internal server error")
            assert f"errorId {answer['error']['details']['errorId']}" in caplog.text

    run(test())


@pytest.mark.parametrize(
    "path, body, headers, status, code, words",
    [
        ("/rpc/nobody", b"", {}, 404, "NOT_FOUND", NO_HANDLER),
        ("/rpc/", b"", {}, 400, "INVALID_ARGUMENT", "names no route"),
        ("/rpc/%zz", b"", {}, 400, "INVALID_ARGUMENT", "percent-encoding"),
        ("/rpc/%ff", b"", {}, 400, "INVALID_ARGUMENT", "percent-encoding"),
        ("/rpc/sum", b"[1", {}, 400, "INVALID_ARGUMENT", "not UTF-8 JSON"),
        ("/rpc/sum", b"\xff", {}, 400, "INVALID_ARGUMENT", "not UTF-8 JSON"),
        ("/rpc/sum", b"[1]", {"content_type": "text/plain"}, 415, "INVALID_ARGUMENT", "content-type"),
        ("/rpc/sum", b"[1]", {"origin": "http://evil"}, 403, "PERMISSION_DENIED", "http://evil"),
        ("/events/orders.x", b"1", {"origin": "null"}, 403, "PERMISSION_DENIED", "web pages"),
        ("/rpc/sum", b"[1]", {"x_mesh_timeout": "soon"}, 400, "INVALID_ARGUMENT", "soon"),
        ("/rpc/sum", b"[1]", {"x_mesh_timeout": "0"}, 504, "DEADLINE_EXCEEDED", "had passed"),
        ("/rpc/wait", b"", {"x_mesh_timeout": "100"}, 504, "DEADLINE_EXCEEDED", ""),
        ("/rpc/sum", None, {"x_mesh_timeout": "100"}, 504, "DEADLINE_EXCEEDED", "no answer within 100 ms"),
        ("/rpc/values", b"3", {}, 501, "UNIMPLEMENTED", "several values"),
        ("/rpc/sum", b"[" + b"1," * 2000, {}, 413, "RESOURCE_EXHAUSTED", "max_frame_bytes"),
        ("/rpc/sum", None, {"content_length": "3000"}, 413, "RESOURCE_EXHAUSTED", "3000 bytes"),
        ("/rpc/large", b"3000", {}, 500, "RESOURCE_EXHAUSTED", "max_frame_bytes"),
        ("/rpc/fail", b'"long"', {}, 500, "RESOURCE_EXHAUSTED", "max_frame_bytes"),
        ("/rpc/fail", b'"ok"', {}, 400, "UNKNOWN", "odd"),
        ("/elsewhere", b"", {}, 404, "NOT_FOUND", "/elsewhere"),
    ],
)
def test_every_refusal_says_why(
    files: str, path: str, body: Optional[bytes], headers: Dict[str, str], status: int, code: str, words: str
) -> None:
    async def test() -> None:
        async with make_peer(files, max_frame_bytes=2048) as peer:
            found, answer = await ask(peer, path, body, **headers)
            assert (found, answer["error"]["code"]) == (status, code)
            assert words in answer["error"]["message"]

    run(test())


def test_a_generator_that_gives_too_much_is_closed(files: str) -> None:
    async def test() -> None:
        async with make_peer(files) as peer:
            assert (await ask(peer, "/rpc/values", b"1000000000"))[0] == 501
            await eventually(lambda: seen["ends"] == ["closed"])

    run(test())


@pytest.mark.parametrize("method, path", [("GET", "/rpc/sum"), ("PUT", "/events/x"), ("POST", "/health")])
def test_another_method_is_refused(files: str, method: str, path: str) -> None:
    async def test() -> None:
        async with make_peer(files) as peer:
            status, answer = await ask(peer, path, method=method)
            assert (status, answer["error"]["code"]) == (405, "UNIMPLEMENTED")
            assert f"not {method}" in answer["error"]["message"]

    run(test())


def test_a_caller_that_resets_or_is_gone_cancels_the_handler(files: str) -> None:
    async def test() -> None:
        async with make_peer(files) as peer:
            async with raw_client(peer) as client:
                client.request("POST", "/rpc/wait")
                client.send_bytes(b"", end=True)
                await eventually(lambda: seen["ends"] == ["began"])
            await eventually(lambda: seen["ends"] == ["began", "cancelled"])

    run(test())


def test_a_body_that_stands_still_is_given_up(files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr(nestjs_mesh.unary, "BODY_TIMEOUT", 0.1)
        async with make_peer(files) as peer:
            status, answer = await ask(peer, "/rpc/sum", None)
            assert (status, answer["error"]["code"]) == (408, "DEADLINE_EXCEEDED")

    run(test())


def test_a_caller_that_goes_on_sending_after_the_answer_is_reset_in_the_end(
    files: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        monkeypatch.setattr(nestjs_mesh.unary_answer, "LINGER", 0.1)
        async with make_peer(files, max_frame_bytes=2048) as peer, raw_client(peer) as client:
            client.plain = True
            client.request("POST", "/rpc/sum")
            client.send_bytes(b"[" + b"1," * 2000)
            await eventually(lambda: client.ended)
            assert client.headers[":status"] == "413"
            await eventually(lambda: client.reset_code == 0)

    run(test())


def test_an_answer_that_nobody_reads_is_given_up(files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr(nestjs_mesh.unary_answer, "LINGER", 0.05)
        monkeypatch.setattr(nestjs_mesh.unary_answer, "UNREAD_TIMEOUT", 0.2)
        async with make_peer(files) as peer, raw_client(peer) as client:
            plain = peer._core.plain
            assert plain is not None
            client.plain = True
            client.request("POST", "/rpc/large")
            client.send_bytes(b"1000000", end=True)
            client.transport.pause_reading()
            await eventually(lambda: plain.calls)
            await eventually(lambda: not plain.calls)

    run(test())


def test_health_and_readiness(files: str) -> None:
    async def test() -> None:
        peer = make_peer(files)
        async with peer:
            assert await ask(peer, "/health", method="GET") == (200, {"status": "live"})
            assert await ask(peer, "/ready", method="GET") == (200, {"status": "ready"})
            assert await ask(peer, "/ready", method="HEAD") == (200, None)
            async with raw_client(peer) as client:
                client.plain = True
                waiting = asyncio.ensure_future(ask(peer, "/rpc/wait", x_mesh_timeout="1500"))
                await eventually(lambda: seen["ends"] == ["began"])
                closing = asyncio.ensure_future(peer.close())
                await asyncio.sleep(0)  # lets it begin
                client.request("GET", "/ready")
                await eventually(lambda: client.ended)
                assert client.headers[":status"] == "503"
                assert json.loads(client.body) == {"status": "not ready", "reasons": ["shutting down"]}
                assert (await waiting)[0] == 504  # it was under way: the drain waited for it
                await closing

    run(test())


def test_a_node_that_is_not_announced_is_not_ready(files: str) -> None:
    assert Peer("a", files)._not_ready() == ["not announced in the registry yet"]


@pytest.mark.parametrize(
    "options, rpc, health",
    [
        ({"host": "127.0.0.1"}, 200, 200),
        ({"host": "0.0.0.0"}, 404, 200),
        ({"host": "0.0.0.0", "http": {"rpc": True}}, 200, 200),
        ({"http": {"rpc": False, "health": False}}, 404, 404),
    ],
)
def test_what_is_answered_is_an_option(files: str, options: Dict[str, Any], rpc: int, health: int) -> None:
    async def test() -> None:
        async with make_peer(files, **options) as peer:
            for path, body, method, expected in [
                ("/rpc/sum", b"[1]", "POST", rpc),
                ("/events/orders.x", b"1", "POST", 202 if rpc == 200 else 404),
                ("/health", b"", "GET", health),
                ("/ready", b"", "GET", health),
            ]:
                status, answer = await ask(peer, path, body, method=method)
                assert status == expected
                if status == 404:
                    assert "switched off at this node (option http[" in answer["error"]["message"]

    run(test())


@pytest.mark.parametrize("http", [{"rcp": True}, {"rpc": "yes"}, {"health": None}])
def test_an_option_that_cannot_be_is_refused(http: Any) -> None:
    with pytest.raises(ValueError, match="http must be like"):
        Peer("a", "file:x", http=http)
