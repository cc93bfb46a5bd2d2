"""A call on a stream of its own: the caller's frames are its input, the callee's its output, trailers its end."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import TYPE_CHECKING, Any, AsyncIterable, Dict, List, Optional, Tuple, Union
from urllib.parse import unquote

from h2.errors import ErrorCodes

from .channel import PeerInfo
from .codec import encode_json
from .context import Context
from .errors import NO_HANDLER, MeshError, NoHandlerError, error_of, unavailable
from .headers import metadata_of
from .inbound_call import Caller, InboundCall
from .inbox import Inbox
from .outbound_call import OutboundCall
from .packets import string_metadata
from .stream import Reader, Stream

if TYPE_CHECKING:
    from .session import Session

#: A longer error is masked: header blocks have limits, and one beyond them would cost the whole connection.
MAX_ERROR_BYTES = 16 * 1024


class ServedStream(Reader, Caller):
    """The callee's side."""

    def __init__(self, stream: Stream, peer: PeerInfo, session: Session) -> None:
        self._stream = stream
        self._peer = peer
        self._session = session
        self._input = Inbox(stream)
        self._call = InboundCall(self, stream.connection.deadlines)
        #: True until the one value that is the data has come.
        self._awaits_data = stream.headers.get("x-mesh-input") == "value"
        if not self._awaits_data:
            self._begin(self._input)

    def on_value(self, value: Any, size: int) -> None:
        if self._awaits_data:
            self._begin(value)
        else:
            self._input.put(value, size)

    def on_unreadable(self, head: bytes, error: MeshError) -> None:
        self._awaits_data = False
        self._call.fail(error)

    def on_end(self, error: Optional[MeshError]) -> None:
        if error is not None:
            self.on_unreadable(b"", error)
        elif self._awaits_data:
            self._begin(None)
        self._input.finish(error)

    def on_closed(self, error: Optional[MeshError]) -> None:
        self._input.finish(error or MeshError("CANCELLED", "the call is over"))
        self._call.cancel()

    def _begin(self, data: Any) -> None:
        self._awaits_data = False
        headers, loop = self._stream.headers, asyncio.get_event_loop()
        route = unquote(headers["x-mesh-pattern"])
        handler, deadline = self._session.core.handlers.find_handler(route), None
        if re.fullmatch(r"\d{1,10}", headers.get("x-mesh-timeout", "")):
            deadline = loop.time() + int(headers["x-mesh-timeout"]) / 1000
        if handler is None:
            self._call.refuse(NoHandlerError())
        elif deadline is not None and deadline <= loop.time():
            late = MeshError("DEADLINE_EXCEEDED", "the call's timeout had passed when it arrived", delivery="refused")
            self._call.refuse(late)
        else:
            self._call.run(handler, data, Context(route, self._peer, call_metadata(headers), deadline, self._session))

    async def ready(self, call: InboundCall) -> None:
        await self._stream.drain()

    def done(self, call: InboundCall) -> None:
        """The end of its stream says so."""

    def reply(self, call: InboundCall, answer: Dict[str, Any]) -> None:
        if "err" in answer:
            self._stream.end(abandon=True, trailers=error_trailers(answer))
            return
        if "response" in answer:
            self._stream.send(answer["response"], "the handler's result")
        if answer.get("isDisposed"):
            self._stream.end(abandon=True, trailers=[("mesh-status", "OK")])


class CallingStream(OutboundCall, Reader):
    """The caller's side."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream.connection.deadlines, self._release, stream)
        self._stream = stream
        self._sender: Optional[asyncio.Task[None]] = None

    def start(self, data: Union[Any, AsyncIterable[Any]]) -> None:
        """Sends the input: the only value, or all those of an async iterable."""
        if hasattr(data, "__aiter__"):
            self._sender = asyncio.get_event_loop().create_task(self._send_all(data))
        else:
            self._stream.send(data, "the data")
            self._stream.end()

    def on_value(self, value: Any, size: int) -> None:
        self.put(value, size)

    def on_unreadable(self, head: bytes, error: MeshError) -> None:
        error.delivery = "unknown"
        self._fail(error)

    def on_end(self, error: Optional[MeshError]) -> None:
        self.finish(error or error_of(self._stream.trailers))
        self._stop_input()
        self._stream.end()  # the answer is there: what was still to be sent is of no interest to anybody

    def on_closed(self, error: Optional[MeshError]) -> None:
        self.finish(error or unavailable("the call stream ended without a status", "unknown"))
        self._stop_input()

    async def _send_all(self, values: Any) -> None:
        try:
            async for value in values:
                self._stream.send(value, "a value of the input")
                await self._stream.drain()
            self._stream.end()
        except Exception as error:  # the caller's own: it sees it, and the callee a cancel
            self._sender = None
            self._fail(error)
        finally:
            if hasattr(values, "aclose"):
                await values.aclose()

    def _fail(self, error: Exception) -> None:
        self.finish(error)
        self._stream.reset(ErrorCodes.CANCEL)

    def _stop_input(self) -> None:
        if self._sender is not None:
            self._sender.cancel()

    def _release(self) -> None:
        self._stop_input()
        self.clear()
        if not self._stream.remote_ended:
            self._stream.reset(ErrorCodes.CANCEL)


def call_metadata(headers: Dict[str, str]) -> Dict[str, str]:
    """The metadata of a call that came with headers."""
    try:
        more = json.loads(unquote(headers.get("x-mesh-metadata", "{}")))
    except (ValueError, RecursionError):
        more = None
    return {**metadata_of(headers), **string_metadata(more)}


def error_trailers(answer: Dict[str, Any]) -> List[Tuple[str, str]]:
    """The trailers for what a response packet would carry."""
    err, error_id = answer["err"], answer.get("errorId")
    known = MeshError.from_wire(err)
    status = "UNIMPLEMENTED" if err == NO_HANDLER else known.code if known else "UNKNOWN"
    text = encode_json(err, sys.maxsize, "the error", ascii_only=True).decode("ascii")
    if len(text) > MAX_ERROR_BYTES:
        raise MeshError("INVALID_ARGUMENT", f"an error of {len(text)} bytes is over the {MAX_ERROR_BYTES} of trailers")
    trailers = [("mesh-status", status), ("mesh-error", text)]
    return trailers if error_id is None else [*trailers, ("mesh-error-id", error_id)]
