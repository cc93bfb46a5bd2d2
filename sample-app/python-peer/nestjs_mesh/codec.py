"""Values to payloads and back: JSON, which every peer speaks, and MessagePack where the package `msgpack` is there."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime, timezone
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple, Union

from .errors import MeshError

try:
    import msgpack
except ImportError:
    msgpack = None

#: The id of a call: unique among the sender's open calls on one channel.
CallId = Union[str, int, float]
MAX_ID_LENGTH = 256


class Peeked(NamedTuple):
    """What the first bytes of an unreadable packet say."""

    id: CallId
    is_request: bool


class Codec(NamedTuple):
    """How the payloads of one stream are written."""

    name: str
    #: What is written is a `(value, max_bytes, what)`; MeshError naming `what` when it cannot be, or is too large.
    encode: Callable[[Any, int, str], bytes]
    #: ValueError says what is wrong with a payload.
    decode: Callable[[Union[bytes, bytearray]], Any]
    #: The id of a packet of which only the first bytes are known; senders write it first for that reason.
    peek_id: Callable[[bytes], Optional[Peeked]]


def too_large(what: str, size: int, limit: int, delivery: str = "not-sent") -> MeshError:
    """The error of a message beyond the limit."""
    message = f"{what} has {size} bytes, over the limit of {limit}; raise max_frame_bytes (maxFrameBytes in Node)"
    return MeshError("RESOURCE_EXHAUSTED", message, delivery=delivery)


def _checked(payload: bytes, max_bytes: int, what: str) -> bytes:
    if len(payload) > max_bytes:
        raise too_large(what, len(payload), max_bytes)
    return payload


def _unwritable(what: str, codec: str, error: Exception) -> MeshError:
    return MeshError("INVALID_ARGUMENT", f"{what} is not {codec}: {error}", delivery="not-sent")


def is_call_id(value: Any) -> bool:
    """An id is a number or a string of 1 to 256 characters."""
    if isinstance(value, str):
        return 0 < len(value) <= MAX_ID_LENGTH
    return type(value) is int or type(value) is float


def _peeked(call_id: Any, kind: Any) -> Optional[Peeked]:
    if not is_call_id(call_id) or kind not in ("pattern", "event", "response", "err", "isDisposed"):
        return None  # a doubtful head is not guessed at: that could fail a call that is well
    return Peeked(call_id, kind in ("pattern", "event"))


def is_event_head(head: bytes) -> bool:
    """True for the first bytes of an event in either codec: peers of this version write `id` first, so it has none."""
    return re.match(rb'\s*\{\s*"pattern"\s*:|[\x81-\x8f]\xa7pattern', head) is not None


# --- what both codecs write in the place of what they have no word for ---


def _text_of(value: Any) -> str:
    """An instant as JavaScript writes it; TypeError for every other type."""
    if not isinstance(value, datetime):
        raise TypeError(f"Object of type {type(value).__name__} is no value of it")
    if value.tzinfo is None:
        raise TypeError(f"the datetime {value} has no time zone; give it one (tzinfo)")
    precision = "microseconds" if value.microsecond % 1000 else "milliseconds"
    return value.astimezone(timezone.utc).isoformat(timespec=precision).replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    """Keys and numbers as they are in JavaScript's JSON: `{1: nan}` is `{"1": null}`."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else _text_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _text_key(key: Any) -> str:
    if key is None or isinstance(key, (bool, int, float)):
        return to_json(key)
    raise TypeError(f"keys must be text, got {type(key).__name__}")


# --- JSON ---


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_COMPACT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_text_of)
#: The same, made once instead of for each value; None where Python has it not. What it cannot write is left to the
#: encoder above, which says why.
_WRITE = None
if json.encoder.c_make_encoder is not None:  # type: ignore[attr-defined]
    _WRITE = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
        None, _text_of, json.encoder.encode_basestring, None, ":", ",", False, False, False
    )
_ASCII = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=_text_of)
_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_READ: Callable[[str, int], Tuple[Any, int]] = _DECODER.scan_once  # type: ignore[attr-defined]
_HEAD = re.compile(r'\s*\{\s*"id"\s*:\s*(-?\d{1,16}|"(?:[^"\\]|\\.){1,256}")\s*,\s*"(\w+)"\s*:')


def to_json(value: Any) -> str:
    """`value` as JSON in as few characters as it takes."""
    return _COMPACT.encode(value)


def encode_json(value: Any, max_bytes: int, what: str, ascii_only: bool = False) -> bytes:
    """`value` as UTF-8 JSON; a MeshError naming `what` when it is no JSON or beyond `max_bytes`."""
    if _WRITE is not None and not ascii_only:
        try:
            payload: bytes = "".join(_WRITE(value, 0)).encode("utf-8")
        except (TypeError, ValueError, OverflowError, RecursionError):
            pass
        else:
            return payload if len(payload) <= max_bytes else _checked(payload, max_bytes, what)
    try:
        encoder = _ASCII if ascii_only else _COMPACT
        try:
            text = encoder.encode(value)
        except ValueError:  # NaN, or an infinity
            value = _plain(value)
            text = encoder.encode(value)
        try:
            payload = text.encode("utf-8")
        except UnicodeEncodeError:  # half of a surrogate pair has no UTF-8 form, but it has an escaped one
            payload = _ASCII.encode(value).encode("ascii")
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _unwritable(what, "JSON", error) from error
    return _checked(payload, max_bytes, what)


def decode_json(payload: Union[bytes, bytearray, memoryview]) -> Any:
    """The value in a payload; ValueError (bad UTF-8, bad JSON, nested too deep) says what is wrong."""
    text = str(payload, "utf-8")
    try:
        value, end = _READ(text, 0)
        if end == len(text):
            return value
    except (StopIteration, RecursionError):
        pass
    try:
        return _DECODER.decode(text)  # with white space around, or to say what is wrong
    except RecursionError:
        raise ValueError("JSON nested too deep") from None


def _peek_json(head: bytes) -> Optional[Peeked]:
    found = _HEAD.match(head.decode("utf-8", "replace"))
    try:
        return _peeked(json.loads(found.group(1)), found.group(2)) if found is not None else None
    except ValueError:
        return None


JSON = Codec("JSON", encode_json, decode_json, _peek_json)

# --- MessagePack ---

#: msgpackr in Node writes JavaScript's `undefined` as this extension.
_UNDEFINED = 0
_SHOWS_TIME = 3  # msgpack.Timestamp as datetime
#: How NaN and the infinities are packed; other bytes can look the same.
_NOT_FINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")


def _pack(value: Any, max_bytes: int, what: str) -> bytes:
    try:
        payload: bytes = msgpack.packb(value, default=_text_of)
        if not _is_plain(payload):
            payload = msgpack.packb(_plain(value), default=_text_of)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _unwritable(what, "MessagePack", error) from error
    return _checked(payload, max_bytes, what)


def _is_plain(payload: bytes) -> bool:
    """False where the packer has taken what it should not, as it takes any key; cheaper than to walk the value."""
    try:
        msgpack.unpackb(payload)
    except ValueError:
        return False
    return _NOT_FINITE.search(payload) is None


def _extension(code: int, data: bytes) -> None:
    if code != _UNDEFINED:
        raise ValueError(f"the MessagePack extension {code} is not known")


def _unpack(payload: Union[bytes, bytearray]) -> Any:
    try:
        return msgpack.unpackb(payload, ext_hook=_extension, timestamp=_SHOWS_TIME)
    except (msgpack.UnpackException, MemoryError, OverflowError) as error:  # most of the first kind have no text
        raise ValueError(str(error) or type(error).__name__) from None


def _peek_packed(head: bytes) -> Optional[Peeked]:
    unpacker = msgpack.Unpacker()
    unpacker.feed(head)
    try:
        unpacker.read_map_header()
        if unpacker.unpack() != "id":
            return None
        return _peeked(unpacker.unpack(), unpacker.unpack())
    except (ValueError, msgpack.UnpackException):
        return None


#: None where the package is not there.
MESSAGE_PACK = Codec("MessagePack", _pack, _unpack, _peek_packed) if msgpack is not None else None

# --- which one ---

CODEC_HEADER = "x-mesh-codec"


def check_codec(name: Any) -> str:
    """The name of a codec that this peer can offer; ValueError otherwise."""
    if name not in ("json", "msgpack"):
        raise ValueError(f"codec must be 'json' or 'msgpack'; got {name!r}")
    if name == "msgpack" and MESSAGE_PACK is None:
        raise ValueError("codec 'msgpack' needs the package msgpack (pip install msgpack), or use 'json'")
    return str(name)


def agreed_codec(headers: Dict[str, str]) -> Tuple[Codec, Tuple[Tuple[str, str], ...]]:
    """The codec that the other side's headers ask for, where it is there, and the headers that say so to it."""
    if MESSAGE_PACK is not None and headers.get(CODEC_HEADER) == "msgpack":
        return MESSAGE_PACK, ((CODEC_HEADER, "msgpack"),)
    return JSON, ()
