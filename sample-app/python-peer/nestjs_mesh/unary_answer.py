"""The answers of plain HTTP/2: JSON in a status of HTTP, errors too."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Dict, Optional, Tuple

from h2.errors import ErrorCodes

from .errors import NO_HANDLER, MeshError, RpcError
from .stream import Stream

#: How long a caller may go on sending after our answer; a reset at once makes `curl` drop the answer.
LINGER = 1.0
#: Seconds after which an answer that is not read is given up.
UNREAD_TIMEOUT = 30.0


class Refusal(MeshError):
    """The fault of a request, in a status of HTTP (RFC 9110, 15), which says more than that of a code."""

    def __init__(
        self, code: str, message: str, status: Optional[int] = None, headers: Optional[Dict[str, str]] = None
    ) -> None:
        super().__init__(code, message, delivery="refused")
        self._status = status or self.http_status
        self._headers = headers

    def answer(self, stream: Stream) -> None:
        """Answers the request with it."""
        body = json.dumps({"error": {"code": self.code, "message": self.message}}, separators=(",", ":")).encode()
        respond(stream, self._status, body, self._headers)


def error_of(err: Any, error_id: Optional[str]) -> Tuple[int, Dict[str, Any]]:
    """The status, and what `error` holds in the body, for the `err` and the `errorId` of a response packet."""
    fault, http_status = MeshError.from_wire(err), RpcError(err).http_status
    if fault is not None:
        error = {"code": fault.code, "message": fault.message}
        return fault.http_status, error if fault.details is None else {**error, "details": fault.details}
    if err == NO_HANDLER:
        return 404, {"code": "NOT_FOUND", "message": NO_HANDLER}
    message = err.get("message") if isinstance(err, dict) else err
    if http_status is not None and isinstance(message, str):
        # A status that is no error would say that the call has succeeded.
        return max(http_status, 400), {"code": err["code"], "message": message, "details": err["details"]}
    details = {**err, "errorId": error_id} if error_id is not None and isinstance(err, dict) else err
    text = message if isinstance(message, str) else "the handler failed"
    return 500, {"code": "UNKNOWN", "message": text, "details": details}


def respond(
    stream: Stream, status: int, body: Optional[bytes] = None, headers: Optional[Dict[str, str]] = None
) -> None:
    """Answers a request; one that is answered already, or gone, is left alone."""
    if not stream.writable:
        return
    head = {} if body is None else {"content-type": "application/json", "content-length": str(len(body))}
    stream.respond(status, {**(headers or {}), **head}.items())
    if body and stream.headers.get(":method") != "HEAD":
        stream.write(body)
    stream.end()
    asyncio.get_event_loop().call_later(LINGER, _let_go, stream, stream.pending_bytes)


def _let_go(stream: Stream, before: int, idle: float = 0.0) -> None:
    """Ends what the caller leaves open: its own half behind the answer, and an answer that it does not read."""
    idle = idle + LINGER if stream.pending_bytes == before else 0.0
    if stream.closed:
        return
    if not stream.has_output:
        stream.reset(ErrorCodes.NO_ERROR)
    elif idle >= UNREAD_TIMEOUT:
        stream.reset(ErrorCodes.CANCEL)
    else:
        asyncio.get_event_loop().call_later(LINGER, _let_go, stream, stream.pending_bytes, idle)
