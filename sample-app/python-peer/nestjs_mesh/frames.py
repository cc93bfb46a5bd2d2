"""Frames: `[4-byte big-endian length][payload]`, put together from bytes that arrive in any pieces. No I/O here."""

from __future__ import annotations

from typing import Iterator, NamedTuple, Union

DEFAULT_MAX_FRAME_BYTES = 4 * 1024 * 1024
#: A declared length beyond the limit times this is taken for a stream out of step, not for a big message.
TRUST_FACTOR = 16
#: How much of a too long payload is kept, to find out which call it belonged to.
PEEK_BYTES = 256
HEADER_BYTES = 4


def frame_header(payload_bytes: int) -> bytes:
    """The length prefix of a payload."""
    return payload_bytes.to_bytes(HEADER_BYTES, "big")


def encode_frame(payload: bytes) -> bytes:
    """One whole frame. The sending path writes header and payload apart, to spare big payloads this copy."""
    return frame_header(len(payload)) + payload


class Oversized(NamedTuple):
    """A frame beyond the limit: its payload was skipped, only its first bytes are known."""

    length: int
    head: bytes


class FramingError(ValueError):
    """The peer's framing can no longer be trusted; the stream must be reset."""


class FrameDecoder:
    """Checks lengths before anything is allocated, and copies only the payloads that span pieces."""

    def __init__(self, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        self._max = max_frame_bytes
        self._header = b""
        self._body = bytearray()
        self._missing = -1  # payload bytes still to come; -1 while the header is read
        self._declared = 0
        self._skipping = False

    @property
    def in_frame(self) -> bool:
        """True when the bytes so far end inside a frame: an end of stream here cuts a message short."""
        return self._missing >= 0 or bool(self._header)

    def feed(self, data: bytes) -> Iterator[Union[memoryview, Oversized]]:
        """The payloads that `data` completes, in order; to be iterated to its end.

        Raises FramingError, after the payloads before it, for a declared length over 16 times the limit.
        """
        view = memoryview(data)
        at, end = 0, len(view)
        while at < end or self._missing == 0:
            if self._missing < 0:
                taken = bytes(view[at : at + HEADER_BYTES - len(self._header)])
                self._header += taken
                at += len(taken)
                if len(self._header) < HEADER_BYTES:
                    return
                self._begin(int.from_bytes(self._header, "big"))
                continue
            piece = view[at : at + self._missing]
            at += len(piece)
            self._missing -= len(piece)
            if self._skipping:
                room = PEEK_BYTES - len(self._body)
                self._body += piece[: max(0, room)]
                if room > 0 and (len(self._body) == PEEK_BYTES or self._missing == 0):
                    yield Oversized(self._declared, bytes(self._body))
                if self._missing == 0:
                    self._reset()
            elif self._missing == 0:
                payload = memoryview(self._body + piece) if self._body else piece
                self._reset()
                yield payload
            else:
                self._body += piece

    def _begin(self, length: int) -> None:
        if length > self._max * TRUST_FACTOR:
            raise FramingError(
                f"a frame of {length} bytes was declared, more than {TRUST_FACTOR} times max_frame_bytes ({self._max})"
            )
        self._header = b""
        self._declared = self._missing = length
        self._skipping = length > self._max

    def _reset(self) -> None:
        self._missing = -1
        self._body = bytearray()
        self._skipping = False
