"""Frames: `[4-byte big-endian length][payload]`, put together from bytes that arrive in any pieces. No I/O here."""

from __future__ import annotations

from struct import Struct
from typing import Iterator, NamedTuple, Union

DEFAULT_MAX_FRAME_BYTES = 4 * 1024 * 1024
#: A declared length beyond the limit times this is taken for a stream out of step, not for a big message.
TRUST_FACTOR = 16
#: How much of a too long payload is kept, to find out which call it belonged to.
PEEK_BYTES = 256
HEADER_BYTES = 4
_HEADER = Struct(">I")


def encode_frame(payload: bytes) -> bytes:
    """One whole frame."""
    return _HEADER.pack(len(payload)) + payload


class Oversized(NamedTuple):
    """A frame beyond the limit: its payload is skipped, only its first bytes are known."""

    length: int
    head: bytes


class FramingError(ValueError):
    """The peer's framing can no longer be trusted; the stream must be reset."""


class FrameDecoder:
    """Checks the declared length before the payload is waited for, so no more than one frame is ever kept."""

    def __init__(self, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        self._max = max_frame_bytes
        self._buffer = bytearray()
        self._skip = 0  # bytes still to come of a payload beyond the limit

    @property
    def in_frame(self) -> bool:
        """True when the bytes so far end inside a frame: an end of stream here cuts a message short."""
        return bool(self._buffer or self._skip)

    def feed(self, data: bytes) -> Iterator[Union[bytes, bytearray, Oversized]]:
        """The payloads that `data` completes, in order; to be iterated to its end.

        Raises FramingError, after the payloads before it, for a declared length over 16 times the limit.
        """
        at = min(self._skip, len(data))
        self._skip -= at
        # Whole frames are read where they are; only what ends inside one is copied.
        source: Union[bytes, bytearray] = data
        if self._buffer:
            self._buffer += data
            source = self._buffer
        size = len(source)
        while size >= at + HEADER_BYTES:
            start = at + HEADER_BYTES
            (length,) = _HEADER.unpack_from(source, at)
            if length > self._max:
                if length > self._max * TRUST_FACTOR:
                    reason = f"more than {TRUST_FACTOR} times max_frame_bytes ({self._max})"
                    raise FramingError(f"a frame of {length} bytes was declared, {reason}")
                peeked = min(length, PEEK_BYTES)
                if size < start + peeked:
                    break
                yield Oversized(length, bytes(source[start : start + peeked]))
            elif size < start + length:
                break
            else:
                yield source[start : start + length]
            at = start + length
        self._skip = self._skip or max(0, at - size)
        if source is data:
            self._buffer += memoryview(data)[at:]
        else:
            del self._buffer[:at]
