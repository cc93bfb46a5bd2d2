"""What no good peer sends: each fault is told, costs at most its own call or channel, and nothing crashes or hangs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any, AsyncIterator, Dict, List

import pytest

from nestjs_mesh import MeshError, Peer
from nestjs_mesh.frames import encode_frame

from .conftest import RawClient, eventually, raw_client, run


@contextlib.asynccontextmanager
async def packets(files: str, **options: Any) -> AsyncIterator[RawClient]:
    """A hand-driven client with a packet channel to a peer with a few handlers."""
    peer = Peer("a", files, **options)
    peer.handler("echo")(lambda data: data)

    @peer.handler("slow")
    async def slow() -> str:
        await asyncio.sleep(0.3)
        return "slow"

    async with peer, raw_client(peer) as client:
        client.open_packets()
        yield client


async def lives(client: RawClient) -> None:
    """The channel still answers."""
    client.send('{"id":"alive","pattern":"echo","data":1}')
    await eventually(lambda: {"id": "alive", "response": 1, "isDisposed": True} in client.messages)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"NaN",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"__proto__":{"a":1}}',
        b"null",
        b'{"id":"1"}',
        b'{"id":{},"pattern":"echo"}',
        b'{"id":"unknown","response":1}',
        b'{"id":"unknown","cancel":true}',
        b'{"open":"token"}',
    ],
)
def test_a_message_that_means_nothing_leaves_the_channel_alive(
    files: str, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with packets(files) as client:
            for _ in range(3):
                client.send_bytes(encode_frame(payload))
            await lives(client)
            assert len(client.messages) == 1

    with caplog.at_level(logging.WARNING):
        run(test())
    assert len(caplog.records) <= 1


@pytest.mark.parametrize(
    "text, code",
    [
        ('{"id":7,"pattern":"echo","data":}', "INVALID_ARGUMENT"),
        ('{"id":7,"pattern":"echo","timeout":"soon"}', "INVALID_ARGUMENT"),
        ('{"id":7,"pattern":"slow","timeout":0}', "DEADLINE_EXCEEDED"),
        ('{"id":7,"pattern":"slow","timeout":20}', "DEADLINE_EXCEEDED"),
        ('{"id":7,"pattern":"echo","data":"' + "x" * 3000 + '"}', "RESOURCE_EXHAUSTED"),
    ],
)
def test_a_bad_request_whose_id_is_known_is_answered(files: str, text: str, code: str) -> None:
    async def test() -> None:
        async with packets(files, max_frame_bytes=2048) as client:
            client.send(text)
            answer: Dict[str, Any] = (await client.expect(1))[0]
            assert (answer["id"], answer["isDisposed"]) == (7, True)
            assert (answer["err"]["status"], answer["err"]["code"]) == ("error", code)
            await lives(client)

    run(test())


def test_an_unknown_pattern_is_answered_exactly_as_nest_does(files: str) -> None:
    async def test() -> None:
        async with packets(files) as client:
            for pattern in ('"nope"', '{"cmd":"nope"}', "7", '"{"', '{"a":{"a":{"a":{"a":{"a":{"a":{"a":{}}}}}}}}'):
                client.messages.clear()
                client.send(f'{{"id":"1","pattern":{pattern},"data":null}}')
                message = "There is no matching message handler defined in the remote service."
                expected = {"id": "1", "err": message, "isDisposed": True, "status": "error"}
                assert await client.expect(1) == [expected]

    run(test())


def test_the_id_is_the_first_key_of_an_answer(files: str) -> None:
    async def test() -> None:
        async with packets(files) as client:
            client.send('{"pattern":"echo","data":1,"id":"x"}')
            await client.expect(1)
            assert client.body[4:].startswith(b'{"id":"x",')

    run(test())


def test_a_second_request_with_an_open_id_does_not_touch_the_first(files: str) -> None:
    async def test() -> None:
        async with packets(files) as client:
            client.send('{"id":1,"pattern":"slow"}')
            client.send('{"id":1,"pattern":"echo","data":"intruder"}')
            assert await client.expect(1) == [{"id": 1, "response": "slow", "isDisposed": True}]
            await lives(client)
            assert len(client.messages) == 2

    run(test())


def test_a_call_that_is_cancelled_before_it_has_begun_leaves_nothing_behind(files: str) -> None:
    async def test() -> None:
        peer = Peer("a", files)

        @peer.handler("never")
        async def never() -> None:  # before Python 3.12 it does not even begin
            await asyncio.sleep(60)

        async with peer, raw_client(peer) as client:
            client.open_packets()
            client.send_bytes(encode_frame(b'{"id":1,"pattern":"never"}') + encode_frame(b'{"id":1,"cancel":true}'))
            (session,) = peer._router.sessions
            await eventually(lambda: session.packet_channels and not session.packet_channels[0].busy)
            assert client.messages == []

    run(test())


def test_frames_in_any_pieces_are_put_together(files: str) -> None:
    async def test() -> None:
        async with packets(files) as client:
            frames = encode_frame(b'{"id":1,"pattern":"echo","data":"a"}') * 2
            for byte in frames.replace(b'"id":1', b'"id":2', 1):
                client.send_bytes(bytes([byte]))
            answers = await client.expect(2)
            assert [answer["id"] for answer in answers] == [2, 1]

    run(test())


def test_a_length_that_cannot_be_trusted_resets_the_stream_but_not_the_connection(files: str) -> None:
    async def test() -> None:
        async with packets(files) as client:
            client.send_bytes(b"\xff\xff\xff\xff")
            await eventually(lambda: client.reset_code is not None)
            assert not client.lost

    run(test())


def test_a_frame_cut_short_by_the_end_is_told(files: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with packets(files) as client:
            client.send_bytes(encode_frame(b'{"id":1}')[:-1], end=True)
            await eventually(lambda: client.ended)

    run(test())
    assert "ended inside a message" in caplog.text


@pytest.mark.parametrize(
    "request_line, headers, status, code",
    [
        (("GET", "/channel"), {"x_service_name": "c"}, "405", "UNIMPLEMENTED"),
        (("POST", "/other"), {"x_service_name": "c"}, "404", "NOT_FOUND"),
        (("POST", "/channel"), {}, "400", "INVALID_ARGUMENT"),
        (("POST", "/channel"), {"x_service_name": "c", "x_mesh_open": "t"}, "404", "NOT_FOUND"),
        (("POST", "/channel"), {"x_service_name": "c", "x_mesh_packet": "t"}, "400", "INVALID_ARGUMENT"),
        (("POST", "/channel"), {"x_service_name": "c", "x_mesh_channel": "nope"}, "404", "NOT_FOUND"),
    ],
)
def test_a_request_that_opens_no_channel_gets_a_json_error(
    files: str, request_line: Any, headers: Dict[str, str], status: str, code: str
) -> None:
    async def test() -> None:
        async with Peer("a", files) as peer, raw_client(peer) as client:
            client.request(*request_line, **headers)
            await eventually(lambda: client.ended)
            assert client.headers[":status"] == status
            assert json.loads(client.body)["error"]["code"] == code

    run(test())


def test_http_1_on_the_port_ends_that_connection_only(files: str) -> None:
    async def test() -> None:
        peer = Peer("a", files)
        peer.handler("echo")(lambda data: data)
        async with peer, Peer("b", files) as b:
            reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.wait_for(reader.read(), 5)
            writer.close()
            assert await b.call("a", "echo", 1) == 1

    run(test())


def test_a_slow_reader_is_cut_off_before_it_fills_the_memory(files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr("nestjs_mesh.stream.MAX_PENDING_BYTES", 1_000_000)
        peer = Peer("a", files, large_message_bytes=0)
        peer.handler("big")(lambda: "x" * 300_000)
        async with peer, raw_client(peer) as client:
            client.open_packets()
            client.h2.acknowledge_received_data = lambda *_: None  # type: ignore[method-assign]
            for number in range(10):
                client.send(f'{{"id":{number},"pattern":"big"}}')
            await eventually(lambda: client.reset_code is not None)

    run(test())


class Answering(asyncio.Protocol):
    """A server that answers every request with one status."""

    def __init__(self, status: str) -> None:
        self.status = status
        self.client = RawClient()
        import h2.config
        import h2.connection

        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.h2.initiate_connection()
        transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        import h2.events

        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self.h2.send_headers(event.stream_id, [(":status", self.status)], end_stream=True)
        self.transport.write(self.h2.data_to_send())


@pytest.mark.parametrize(
    "status, code",
    [("401", "UNAUTHENTICATED"), ("404", "UNIMPLEMENTED"), ("500", "UNAVAILABLE"), ("200", "UNAVAILABLE")],
)
def test_a_peer_that_refuses_the_channel_gives_a_typed_error(files: str, status: str, code: str) -> None:
    async def test() -> None:
        server = await asyncio.get_event_loop().create_server(lambda: Answering(status), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]  # type: ignore[attr-defined, unused-ignore]
        async with Peer("b", files, advertise=f"127.0.0.1:{port}"), Peer("c", files) as c:
            with pytest.raises(MeshError) as caught:
                await c.call("b", "x", timeout=0.5)
            assert caught.value.code == code
            if status != "200":
                assert caught.value.delivery == "refused"
        server.close()

    run(test())


def test_a_server_that_never_sends_settings_is_given_up(files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr("nestjs_mesh.dialling.CONNECT_TIMEOUT", 0.2)
        held: List[Any] = []
        server = await asyncio.start_server(lambda reader, writer: held.append(writer), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]  # type: ignore[attr-defined, unused-ignore]
        async with Peer("b", files, advertise=f"127.0.0.1:{port}"), Peer("c", files) as c:
            with pytest.raises(MeshError, match=r"within 0\.2 s") as caught:
                await c.call("b", "x", timeout=0.5)
            assert caught.value.delivery == "not-sent"
        for writer in held:
            writer.close()
        server.close()

    run(test())
