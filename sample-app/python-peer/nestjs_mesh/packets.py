"""Packets: the JSON values in frames, with Nest's own words, and the route a pattern stands for."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, NamedTuple, Optional, Union

from .errors import MeshError

#: The id of a call: unique among the sender's open calls on one channel.
CallId = Union[str, int, float]
MAX_ID_LENGTH = 256
_PATTERN = (str, int, float, dict, list)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_COMPACT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_ASCII = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False)
_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def encode_json(value: Any, max_bytes: int, what: str, ascii_only: bool = False) -> bytes:
    """`value` as UTF-8 JSON; a MeshError naming `what` when it is no JSON or beyond `max_bytes`."""
    try:
        text = (_ASCII if ascii_only else _COMPACT).encode(value)
        try:
            payload = text.encode("utf-8")
        except UnicodeEncodeError:  # half of a surrogate pair has no UTF-8 form, but it has an escaped one
            payload = _ASCII.encode(value).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise MeshError("INVALID_ARGUMENT", f"{what} is not JSON: {error}", delivery="not-sent") from error
    if len(payload) > max_bytes:
        raise too_large(what, len(payload), max_bytes)
    return payload


def decode_json(payload: Union[bytearray, memoryview]) -> Any:
    """The value in a payload; ValueError (bad UTF-8, bad JSON, nested too deep) says what is wrong."""
    try:
        return _DECODER.decode(str(payload, "utf-8"))
    except RecursionError:
        raise ValueError("JSON nested too deep") from None


def too_large(what: str, size: int, limit: int, delivery: str = "not-sent") -> MeshError:
    """The error of a message beyond the limit."""
    message = f"{what} has {size} bytes, over the limit of {limit}; raise max_frame_bytes (maxFrameBytes in Node)"
    return MeshError("RESOURCE_EXHAUSTED", message, delivery=delivery)


class Peeked(NamedTuple):
    """What the first bytes of an unreadable packet say."""

    id: CallId
    is_request: bool


_PEEK = re.compile(r'\s*\{\s*"id"\s*:\s*(-?\d{1,16}|"(?:[^"\\]|\\.){1,256}")\s*,\s*"(\w+)"\s*:')


def peek_id(head: bytes) -> Optional[Peeked]:
    """The id of a packet of which only the first bytes are known; senders write it first for that reason."""
    found = _PEEK.match(head.decode("utf-8", "replace"))
    if found is None or found.group(2) not in ("pattern", "event", "response", "err", "isDisposed"):
        return None  # a doubtful head is not guessed at: that could fail a call that is well
    try:
        return Peeked(json.loads(found.group(1)), found.group(2) in ("pattern", "event"))
    except ValueError:
        return None


def is_event_head(head: bytes) -> bool:
    """True for the first bytes of an event: peers of this version write `id` first, so it had none."""
    return re.match(rb'\s*\{\s*"pattern"\s*:', head) is not None


def is_call_id(value: Any) -> bool:
    """An id is a number or a string of 1 to 256 characters."""
    if isinstance(value, str):
        return 0 < len(value) <= MAX_ID_LENGTH
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def kind_of(value: Any) -> Optional[str]:
    """Which packet `value` is: request, event, response, cancel, open or drain; None for what is no packet."""
    if not isinstance(value, dict):
        return None
    pattern = value.get("pattern")
    if "id" not in value:
        if isinstance(pattern, _PATTERN) and not isinstance(pattern, bool):
            return "event"
        if value.get("drain") is True:
            return "drain"
        return "open" if isinstance(value.get("open"), str) else None
    if not is_call_id(value["id"]):
        return None
    if isinstance(pattern, _PATTERN) and not isinstance(pattern, bool):
        return "event" if value.get("event") is True else "request"
    if value.get("cancel") is True:
        return "cancel"
    return "response" if "response" in value or "err" in value or "isDisposed" in value else None


def string_metadata(value: Any) -> Dict[str, str]:
    """The metadata of a received packet as strings: what is no string arrives as its JSON."""
    if not isinstance(value, dict):
        return {}
    return {key: item if isinstance(item, str) else _COMPACT.encode(item) for key, item in value.items()}


def check_metadata(metadata: Optional[Dict[str, str]]) -> Dict[str, str]:
    """Metadata to be sent is an object of strings, as in Nest; ValueError otherwise."""
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ValueError(f"metadata must map strings to strings; got {key!r}: {value!r}")
    return metadata or {}


def route_of(pattern: Any, depth: int = 0) -> str:
    """The route of a pattern by Nest's rules (transformPatternToRoute): `{'cmd': 'sum'}` is `{"cmd":"sum"}`."""
    if isinstance(pattern, str):
        return pattern
    if isinstance(pattern, float) and pattern.is_integer():
        return str(int(pattern))  # as JavaScript writes it
    if isinstance(pattern, (list, tuple)):
        pattern = {str(index): item for index, item in enumerate(pattern)}
    if not isinstance(pattern, dict):
        return json.dumps(pattern)
    if depth > 5:
        return "[MAX_DEPTH_REACHED]"
    if len(pattern) > 20:
        return "[TOO_MANY_KEYS]"
    parts = []
    for key in sorted(map(str, pattern), key=lambda name: (name.casefold(), name.swapcase())):
        value = pattern[key]
        text = f'"{_escape(value)}"' if isinstance(value, str) else route_of(value, depth + 1)
        parts.append(f'"{_escape(key)}":{text}')
    return "{" + ",".join(parts) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
