"""MessagePack: the vectors that every implementation shares, and which codec two nodes agree upon."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, AsyncIterator, Dict, List

import msgpack
import pytest

import nestjs_mesh.codec
from nestjs_mesh import Channel, MeshError, Peer, RpcError
from nestjs_mesh.codec import JSON, MESSAGE_PACK, Codec
from nestjs_mesh.frames import FrameDecoder, encode_frame

from .conftest import eventually, raw_client, run

VECTORS: Dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[3] / "test" / "vectors" / "msgpack.json").read_text("utf-8")
)
assert MESSAGE_PACK is not None, "install requirements-dev.txt"
PACK: Codec = MESSAGE_PACK


def named(vectors: List[Dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", [pytest.param(v, id=v["name"]) for v in vectors])


def payload_of(vector: Dict[str, Any]) -> bytearray:
    [payload] = FrameDecoder().feed(bytes.fromhex(vector["hex"]))
    assert isinstance(payload, (bytes, bytearray))
    return bytearray(payload)


@named(VECTORS["frames"])
def test_a_payload_decodes_to_the_shared_value_and_encodes_to_one_that_does(vector: Dict[str, Any]) -> None:
    assert PACK.decode(payload_of(vector)) == vector["value"]
    assert PACK.decode(bytearray(PACK.encode(vector["value"], 1000, "it"))) == vector["value"]


@named(VECTORS["errors"])
def test_a_payload_that_is_no_messagepack_is_a_value_error(vector: Dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        PACK.decode(payload_of(vector))


@named(VECTORS["heads"])
def test_the_head_of_a_packet_tells_whose_it_is(vector: Dict[str, Any]) -> None:
    peeked = PACK.peek_id(bytes.fromhex(vector["hex"]))
    assert (peeked and {"id": peeked.id, "isRequest": peeked.is_request}) == vector["call"]


@pytest.mark.parametrize("payload", ["c7010500", "d40500", "8190c0", "8101c0", "91" * 3000 + "c0", "a1ff"])
def test_other_extensions_keys_that_are_no_text_and_depth_are_refused(payload: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        PACK.decode(bytearray.fromhex(payload))


def test_bytes_travel_and_the_instants_and_undefined_values_of_others_are_read() -> None:
    value = {"bytes": b"\0\xff", "big": [2**64 - 1, -(2**63)]}
    assert PACK.decode(bytearray(PACK.encode(value, 1000, "it"))) == value
    instant = datetime(2026, 1, 2, 3, 4, 5, 678000, timezone.utc)
    assert PACK.decode(bytearray(msgpack.packb([instant], datetime=True))) == [instant]
    assert PACK.decode(bytearray.fromhex("92d4000001")) == [None, 1]


def test_keys_become_text_as_in_json() -> None:
    value = {1: [{None: True, 1.5: (2, {False: b"x"})}], "a": 3}
    packed = PACK.decode(bytearray(PACK.encode(value, 1000, "it")))
    assert packed == {"1": [{"null": True, "1.5": [2, {"false": b"x"}]}], "a": 3}


@pytest.mark.parametrize("codec", [JSON, PACK], ids=["json", "msgpack"])
def test_both_codecs_write_instants_and_numbers_as_javascript_does(codec: Codec) -> None:
    instant = datetime(2026, 1, 2, 5, 4, 5, 678000, timezone(timedelta(hours=2)))
    value = {"at": [instant, instant.replace(microsecond=1)], "n": (math.nan, [math.inf], -math.inf, 1.5), 1: True}
    assert codec.decode(bytearray(codec.encode(value, 1000, "it"))) == {
        "at": ["2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.000001Z"],
        "n": [None, [None], None, 1.5],
        "1": True,
    }
    with pytest.raises(MeshError, match="no time zone; give it one"):
        codec.encode([datetime(2026, 1, 2)], 1000, "it")


def test_bytes_that_look_like_nan_stay_what_they_are() -> None:
    value = {"bytes": b"\xcb\x7f\xf8\0\0\0\0\0\0", "n": 1.5}
    assert PACK.decode(bytearray(PACK.encode(value, 1000, "it"))) == value


@pytest.mark.parametrize("value", [{1, 2}, object(), 2**70, "\ud800", {"a": [{1}]}, {(1,): 2}, datetime.now()])
def test_what_messagepack_cannot_say_is_refused_before_it_is_sent(value: Any) -> None:
    with pytest.raises(MeshError, match="the data is not MessagePack") as caught:
        PACK.encode(value, 1000, "the data")
    assert (caught.value.code, caught.value.delivery) == ("INVALID_ARGUMENT", "not-sent")
    with pytest.raises(MeshError, match=r"the data has 2003 bytes.*max_frame_bytes"):
        PACK.encode("x" * 2000, 1000, "the data")


def add_handlers(peer: Peer) -> List[Any]:
    notes: List[Any] = []

    @peer.handler("echo")
    def echo(data: Any) -> Any:
        return data

    @peer.handler("double")
    async def double(numbers: AsyncIterator[int]) -> AsyncIterator[int]:
        async for number in numbers:
            yield number * 2

    @peer.handler("fail")
    def fail() -> None:
        raise RpcError({"code": "E", "raw": b"\1"})

    @peer.channel("echo")
    async def echo_channel(channel: Channel) -> None:
        async for message in channel:
            await channel.send(message)

    peer.event("note")(notes.append)
    return notes


async def numbers() -> AsyncIterator[int]:
    for number in range(3):
        yield number


def test_calls_streams_events_and_channels_use_messagepack_when_it_is_offered(files: str) -> None:
    async def test() -> None:
        a, b = Peer("a", files), Peer("b", files, codec="msgpack")
        notes = add_handlers(a)
        add_handlers(b)
        async with a, b:
            assert await b.call("a", "echo", b"\0\xff") == b"\0\xff"
            assert await a.call("b", "echo", b"back") == b"back"  # over the channel that b opened
            assert [value async for value in b.stream("a", "double", numbers())] == [0, 2, 4]
            assert [value async for value in b.stream("a", "echo", b"one")] == [b"one"]
            await b.emit("a", "note", b"n")
            await eventually(lambda: notes == [b"n"])
            channel = await b.open_channel("a", "echo")
            await channel.send(b"raw")
            await channel.end()
            assert [message async for message in channel] == [b"raw"]
            with pytest.raises(RpcError) as caught:
                await b.call("a", "fail")
            assert caught.value.payload == {"code": "E", "raw": b"\1"}

    run(test())


def test_a_peer_without_the_package_is_spoken_to_in_json(files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        a, b = Peer("a", files), Peer("b", files, codec="msgpack")
        add_handlers(a)
        async with a, b:
            monkeypatch.setattr(nestjs_mesh.codec, "MESSAGE_PACK", None)
            assert await b.call("a", "echo", {"x": [1]}) == {"x": [1]}
            with pytest.raises(MeshError, match="not JSON"):
                await b.call("a", "echo", b"bytes")

    run(test())


def test_a_codec_that_is_not_there_is_refused_with_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="codec must be 'json' or 'msgpack'; got 'cbor'"):
        Peer("a", "file:x", codec="cbor")
    monkeypatch.setattr(nestjs_mesh.codec, "MESSAGE_PACK", None)
    with pytest.raises(ValueError, match="needs the package msgpack"):
        Peer("a", "file:x", codec="msgpack")


@pytest.mark.parametrize("offer, codec, answer", [("msgpack", PACK, "msgpack"), ("cbor", JSON, None)])
def test_an_unreadable_packet_fails_its_call_and_the_channel_lives_on(
    files: str, offer: str, codec: Codec, answer: Any
) -> None:
    async def test() -> None:
        peer = Peer("a", files, max_frame_bytes=2048)
        add_handlers(peer)
        async with peer, raw_client(peer) as client:
            client.codec = codec
            client.request(x_service_name="raw", x_mesh_version="1", x_mesh_codec=offer)
            broken = codec.encode({"id": 1, "pattern": "echo", "data": "x"}, 1000, "it")[:-2]
            client.send_bytes(encode_frame(broken))
            client.send_bytes(encode_frame(codec.encode({"id": 2, "pattern": "echo", "data": "x" * 3000}, 4000, "it")))
            client.send_bytes(encode_frame(codec.encode({"id": 3, "pattern": "echo", "data": "ok"}, 1000, "it")))
            first, second, third = await client.expect(3)
            assert (first["id"], first["err"]["code"]) == (1, "INVALID_ARGUMENT")
            assert (second["id"], second["err"]["code"]) == (2, "RESOURCE_EXHAUSTED")
            assert third == {"id": 3, "response": "ok", "isDisposed": True}
            assert client.headers.get("x-mesh-codec") == answer

    run(test())


def test_an_answer_in_a_codec_that_was_not_offered_is_refused(files: str) -> None:
    async def test() -> None:
        a, b = Peer("a", files, codec="msgpack"), Peer("b", files)
        add_handlers(a)

        def boast() -> List[Any]:
            return [("x-mesh-node-id", a.node_id), ("x-mesh-version", "1"), ("x-mesh-codec", "msgpack")]

        a._core.identity = boast  # type: ignore[method-assign]
        async with a, b:
            with pytest.raises(MeshError, match="answers in the codec 'msgpack', and was offered 'json'") as caught:
                await b.call("a", "echo", 1)
            assert caught.value.code == "FAILED_PRECONDITION"

    run(test())
