"""Frames and packets against the vectors that every implementation shares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

import pytest

from nestjs_mesh.codec import JSON, decode_json, encode_json
from nestjs_mesh.errors import MeshError
from nestjs_mesh.frames import FrameDecoder, FramingError, Oversized, encode_frame
from nestjs_mesh.packets import kind_of, route_of

VECTORS: Dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[3] / "test" / "vectors" / "frames.json").read_text("utf-8")
)
LIMIT = VECTORS["limits"]["maxFrameBytes"]
MANY = 1 << 30


def named(vectors: List[Dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", [pytest.param(v, id=v["name"]) for v in vectors])


def decode(data: bytes, piece: int, limit: int = 4096) -> List[Any]:
    decoder = FrameDecoder(limit)
    found: List[Any] = []
    for start in range(0, len(data), piece):
        for payload in decoder.feed(data[start : start + piece]):
            found.append(payload if isinstance(payload, Oversized) else decode_json(payload))
    assert not decoder.in_frame
    return found


@named(VECTORS["frames"])
def test_a_frame_encodes_to_the_shared_bytes_and_decodes_from_them(vector: Dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    if "text" in vector:
        assert encode_frame(vector["text"].encode()) == data
    else:
        assert encode_frame(encode_json(vector["value"], MANY, "it")) == data
    assert decode(data, len(data)) == [vector["value"]]


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 7, 64, 1000])
@named(VECTORS["sequences"])
def test_any_split_of_a_sequence_decodes_to_the_same_frames(vector: Dict[str, Any], piece: int) -> None:
    assert decode(bytes.fromhex(vector["hex"]), piece) == vector["values"]


@pytest.mark.parametrize("piece", [1, 3, 1000])
@named(VECTORS["errors"])
def test_a_fault_is_noticed_and_what_follows_it_still_arrives(vector: Dict[str, Any], piece: int) -> None:
    data, stage = bytes.fromhex(vector["hex"]), vector["stage"]
    decoder = FrameDecoder(LIMIT)
    good: List[Any] = []
    faults: List[str] = []
    for start in range(0, len(data), piece):
        try:
            for payload in decoder.feed(data[start : start + piece]):
                if isinstance(payload, Oversized):
                    faults.append("oversize")
                    assert payload.length == vector["declaredBytes"]
                    peeked = JSON.peek_id(payload.head)
                    call = vector.get("call")
                    assert (peeked and {"id": peeked.id, "isRequest": peeked.is_request}) == call
                    continue
                try:
                    good.append(decode_json(payload))
                except ValueError:
                    faults.append("payload")
        except FramingError:
            faults.append("untrusted")
            break
    if decoder.in_frame and not faults:
        faults.append("end")
    assert set(faults) == {stage}
    assert good == [vector[key] for key in ("before", "then") if key in vector]


@named(VECTORS["packets"])
def test_packets_are_told_apart_as_everybody_does(vector: Dict[str, Any]) -> None:
    assert kind_of(vector["value"]) == vector["kind"]


@named(VECTORS["errorWire"])
def test_the_wire_form_of_errors_is_the_shared_one(vector: Dict[str, Any]) -> None:
    error = MeshError.from_wire(vector["wire"])
    if vector["error"] is None:
        assert error is None
        return
    assert error is not None
    found = {"code": error.code, "message": error.message, "delivery": error.delivery, "details": error.details}
    assert found == {"details": None, **vector["error"]}
    if not vector.get("decodeOnly"):
        assert error.to_wire() == vector["wire"]


def test_json_nested_too_deep_is_an_ordinary_bad_message() -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        decode_json(memoryview(b"[" * 100_000 + b"]" * 100_000))


def test_a_lone_surrogate_is_sent_escaped() -> None:
    assert encode_json("\ud800", 100, "it") == b'"\\ud800"'


@pytest.mark.parametrize("value", [{float("nan"): 1}, {1, 2}, object(), {"a": {(1, 2): 3}}])
def test_what_is_no_json_is_refused_before_it_is_sent(value: Any) -> None:
    with pytest.raises(MeshError, match="INVALID_ARGUMENT") as caught:
        encode_json(value, 1000, "the data")
    assert caught.value.delivery == "not-sent"


@pytest.mark.parametrize(
    "pattern, route",
    [
        ("sum", "sum"),
        ({"cmd": "sum"}, '{"cmd":"sum"}'),
        ({"b": 1, "a": {"d": "x", "c": 2}}, '{"a":{"c":2,"d":"x"},"b":1}'),
        ({"q": 'say "hi" \\'}, '{"q":"say \\"hi\\" \\\\"}'),
        ({"on": True, "no": None, "n": 1.0}, '{"n":1,"no":null,"on":true}'),
        (7, "7"),
    ],
)
def test_patterns_become_the_routes_of_nest(pattern: Any, route: str) -> None:
    assert route_of(pattern) == route
