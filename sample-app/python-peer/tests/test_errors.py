"""What a caller may see of an error, and what only the callee's log has."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any, AsyncIterator, Dict, Optional, Tuple

import pytest

from nestjs_mesh import HttpError, MeshError, Peer, RpcError
from nestjs_mesh.errors import MASKED_ERROR

from .conftest import raw_client, run


@contextlib.asynccontextmanager
async def pair(registry: str, error: Exception) -> AsyncIterator[Tuple[Peer, Peer]]:
    """A node whose handlers `fail` and `fail-midway` raise `error`, and one to call it from."""
    a, b = Peer("a", registry), Peer("b", registry)

    @a.handler("fail")
    async def fail() -> None:
        raise error

    @a.handler("fail-midway")
    async def fail_midway() -> AsyncIterator[int]:
        yield 1
        raise error

    async with a, b:
        yield a, b


async def caught_by(peer: Peer, pattern: str) -> RpcError:
    """What the caller of `pattern` catches, on a packet channel or a call stream."""
    with pytest.raises(RpcError) as caught:
        if pattern == "fail":
            await peer.call("a", pattern)
        else:
            async for _ in peer.stream("a", pattern):
                pass
    return caught.value


@pytest.mark.parametrize("pattern", ["fail", "fail-midway"])
def test_a_masked_error_is_found_in_the_log_of_the_callee_by_its_id(
    files: str, pattern: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        for error in (ValueError("secret"), MeshError("ABORTED", "secret")):
            async with pair(files, error) as (_, b):
                caplog.clear()
                seen = await caught_by(b, pattern)
                assert seen.payload == MASKED_ERROR
                [line] = [r for r in caplog.records if r.levelno == logging.ERROR]
                assert line.getMessage() == f"errorId {seen.error_id}: the handler of {pattern}, called by b, failed"
                assert line.exc_info is not None and line.exc_info[1] is error

    run(test())


@pytest.mark.parametrize(
    "pattern, payload", [("fail", {"a": {1}}), ("fail-midway", {"a": {1}}), ("fail-midway", {"big": "x" * 5_000_000})]
)
def test_an_error_that_cannot_be_written_is_masked_and_logged_with_its_id(
    files: str, pattern: str, payload: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with pair(files, RpcError(payload)) as (_, b):
            seen = await caught_by(b, pattern)
            assert (seen.payload, seen.error_id is not None) == (MASKED_ERROR, True)
            assert f"errorId {seen.error_id}" in caplog.text

    run(test())


def test_the_caller_of_an_error_that_is_too_large_is_told_so(files: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with pair(files, RpcError({"big": "x" * 5_000_000})) as (_, b):
            with pytest.raises(MeshError, match=r"5000\d{3} bytes, over the limit.*max_frame_bytes") as caught:
                await b.call("a", "fail")
            assert (caught.value.code, caught.value.delivery) == ("RESOURCE_EXHAUSTED", "unknown")
            assert "the error of fail, called by b, could not be sent" in caplog.text

    run(test())


def test_a_part_1_peer_gets_no_error_id(files: str) -> None:
    async def test() -> None:
        async with pair(files, ValueError("secret")) as (a, _), raw_client(a) as client:
            client.request(x_service_name="part1")
            client.send('{"id":1,"pattern":"fail"}')
            assert await client.expect(1) == [{"id": 1, "err": MASKED_ERROR, "isDisposed": True, "status": "error"}]

    run(test())


def test_an_error_id_stands_beside_the_error_on_the_wire(files: str) -> None:
    async def test() -> None:
        async with pair(files, ValueError("secret")) as (a, _), raw_client(a) as client:
            client.open_packets()
            client.send('{"id":1,"pattern":"fail"}')
            [packet] = await client.expect(1)
            assert list(packet) == ["id", "err", "errorId", "isDisposed", "status"]

    run(test())


@pytest.mark.parametrize("pattern", ["fail", "fail-midway"])
@pytest.mark.parametrize(
    "error, code, body",
    [
        (
            HttpError(404, "no order 7"),
            "NOT_FOUND",
            {"message": "no order 7", "error": "Not Found", "statusCode": 404},
        ),
        (
            HttpError(409),
            "ABORTED",
            {"message": "Conflict", "error": "Conflict", "statusCode": 409},
        ),
        (HttpError(418, {"short": "and stout"}), "FAILED_PRECONDITION", {"short": "and stout"}),
        (HttpError(599, ["x"]), "UNKNOWN", ["x"]),
    ],
)
def test_an_http_error_keeps_its_status_and_body(
    files: str, pattern: str, error: HttpError, code: str, body: Any
) -> None:
    async def test() -> None:
        async with pair(files, error) as (_, b):
            seen = await caught_by(b, pattern)
            assert seen.http_status == error.http_status
            assert (seen.payload["status"], seen.payload["code"]) == ("error", code)
            assert seen.payload["details"] == {"httpStatus": error.http_status, "response": body}
            assert seen.error_id is None

    run(test())


@pytest.mark.parametrize("status", [199, 600, 404.0, "404", True, None])
def test_a_status_that_no_response_can_have_is_refused(status: Any) -> None:
    with pytest.raises(ValueError, match="from 200 to 599"):
        HttpError(status)


@pytest.mark.parametrize(
    "payload, status, error_id",
    [
        (
            {"status": "error", "code": "UNKNOWN", "message": "", "details": {"httpStatus": 500, "errorId": "e"}},
            500,
            "e",
        ),
        (
            {"status": "error", "code": "UNKNOWN", "message": "", "details": {"httpStatus": 99, "errorId": 1}},
            None,
            None,
        ),
        ({"status": "error", "code": ["x"], "details": {"httpStatus": 404}}, None, None),
        ({"status": "error", "code": "MINE", "details": {"httpStatus": 404}}, None, None),
        ({"status": "error", "code": "UNKNOWN", "details": [404]}, None, None),
        ({"details": {"httpStatus": 404}}, None, None),
        ("text", None, None),
        (None, None, None),
    ],
)
def test_the_status_of_a_received_error_is_read_from_its_wire_form_only(
    payload: Any, status: Optional[int], error_id: Optional[str]
) -> None:
    error = RpcError(payload)
    assert (error.http_status, error.error_id) == (status, error_id)


@pytest.mark.parametrize("payload", ["boom", 7, None, True])
def test_what_is_no_object_becomes_the_message_as_in_nest(payload: Any) -> None:
    assert RpcError(payload).to_wire() == {"status": "error", "message": payload}


@pytest.mark.parametrize("payload", [{}, [], {"a": 1}])
def test_an_object_is_an_error_also_when_it_is_empty(files: str, payload: Any) -> None:
    async def test() -> None:
        for pattern in ("fail", "fail-midway"):
            async with pair(files, RpcError(payload)) as (_, b):
                assert (await caught_by(b, pattern)).payload == payload

    run(test())


def test_a_handler_can_hand_on_what_went_wrong_in_its_own_call(files: str) -> None:
    async def test() -> None:
        inner = MeshError("UNAVAILABLE", "gone", delivery="not-sent", details={"n": 1})
        async with pair(files, RpcError(inner)) as (_, b):
            with pytest.raises(MeshError) as caught:
                await b.call("a", "fail")
            seen = caught.value
            assert (seen.code, seen.message, seen.delivery, seen.details) == (
                "UNAVAILABLE",
                "gone",
                "unknown",
                {"n": 1},
            )
            assert seen.http_status == 503

    run(test())


@pytest.mark.parametrize("odd", [7, None, ["x"], {"a": 1}])
def test_an_error_id_that_is_no_text_is_left_out(odd: Any) -> None:
    assert RpcError(MASKED_ERROR, error_id=odd).error_id is None


def test_every_code_has_the_http_status_of_the_other_language() -> None:
    known: Dict[str, int] = {}
    source = (Path(__file__).resolve().parents[3] / "lib/protocol/error-code.ts").read_text()
    for line in source.split("HTTP_STATUS_OF_ERROR_CODE = {")[1].split("}")[0].strip().splitlines():
        code, _, status = line.strip().rstrip(",").partition(": ")
        known[code] = int(status)
    assert {code: MeshError(code, "x").http_status for code in known} == known
    assert len(known) == 16
