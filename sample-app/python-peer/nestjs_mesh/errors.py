"""What goes wrong: errors of the mesh itself (closed list of codes) and errors that a handler throws on purpose."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Dict, Optional

#: The closed list of codes, each with its HTTP status; the names and meanings are those of gRPC (doc/statuscodes.md).
HTTP_STATUS_OF_CODE = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}
ERROR_CODES = frozenset(HTTP_STATUS_OF_CODE)

#: The way back, for the statuses of handlers; it is not the table above turned round.
_CODE_OF_HTTP_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
_CODE_OF_HTTP_STATUS.update({408: "DEADLINE_EXCEEDED", 409: "ABORTED", 410: "NOT_FOUND", 412: "FAILED_PRECONDITION"})
_CODE_OF_HTTP_STATUS.update({413: "RESOURCE_EXHAUSTED", 416: "OUT_OF_RANGE", 422: "INVALID_ARGUMENT"})
_CODE_OF_HTTP_STATUS.update({429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL", 501: "UNIMPLEMENTED"})
_CODE_OF_HTTP_STATUS.update({502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"})

#: Whether a failed call may have reached its handler: it never left, it was provably not started, it may have run.
DELIVERIES = ("not-sent", "refused", "unknown")

#: What Nest answers for a pattern nobody handles.
NO_HANDLER = "There is no matching message handler defined in the remote service."

#: What Nest answers instead of an error whose text was not meant for the caller.
MASKED_ERROR = {"status": "error", "message": "Internal server error"}


class MeshError(Exception):
    """An error that the transport reports: a code of the closed list, a message and the delivery state of the call."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        delivery: str = "unknown",
        details: Optional[Dict[str, Any]] = None,
        service: Optional[str] = None,
        node_id: Optional[str] = None,
        pattern: Optional[str] = None,
    ) -> None:
        if code not in ERROR_CODES:
            raise ValueError(f"code must be one of {', '.join(sorted(ERROR_CODES))}; got {code!r}")
        super().__init__(f"[{code}] {message}")
        self.code = code
        self.message = message
        self.delivery = delivery
        self.details = details
        self.service = service
        self.node_id = node_id
        self.pattern = pattern

    def at(self, service: Optional[str], node_id: Optional[str] = None, pattern: Optional[str] = None) -> MeshError:
        """This error with what was not yet known of its origin filled in."""
        self.service = self.service or service
        self.node_id = self.node_id or node_id
        self.pattern = self.pattern or pattern
        return self

    @property
    def http_status(self) -> int:
        """The HTTP status of its code."""
        return HTTP_STATUS_OF_CODE[self.code]

    def to_wire(self) -> Dict[str, Any]:
        """The `err` of a response packet."""
        wire: Dict[str, Any] = {"status": "error", "code": self.code, "message": self.message}
        wire["delivery"] = self.delivery  # always there: it tells this shape from a handler's own error
        if self.details is not None:
            wire["details"] = self.details
        return wire

    @staticmethod
    def from_wire(value: Any) -> Optional[MeshError]:
        """Reads the wire form; None for anything else, for example what a handler threw."""
        if not isinstance(value, dict) or value.get("status") != "error":
            return None
        code, message = value.get("code"), value.get("message")
        delivery, details = value.get("delivery"), value.get("details")
        if not (isinstance(code, str) and isinstance(message, str) and isinstance(delivery, str)):
            return None
        if code not in ERROR_CODES or delivery not in DELIVERIES:
            return None
        return MeshError(code, message, delivery=delivery, details=details if isinstance(details, dict) else None)


class RpcError(Exception):
    """A handler's own error, as Nest's RpcException: an object reaches the caller as it is, all else as its `message`.

    A MeshError as payload is handed on; raised by itself it is masked, as every error not meant for the caller.
    On the calling side this is what a call raises for such an answer; `payload` is what came over the wire.
    """

    def __init__(self, payload: Any, *, error_id: Optional[str] = None) -> None:
        super().__init__(payload)
        self.payload = payload
        self._error_id = error_id

    @property
    def http_status(self) -> Optional[int]:
        """The status that HttpError, or Nest's MeshExceptionFilter, gave it; None for every other error."""
        status = self._details().get("httpStatus")
        return status if _is_http_status(status) else None

    @property
    def error_id(self) -> Optional[str]:
        """For an error that the callee masked: what names it in the callee's log."""
        error_id = self._error_id or self._details().get("errorId")
        return error_id if isinstance(error_id, str) else None

    def to_wire(self) -> Any:
        """The `err` of a response packet."""
        if isinstance(self.payload, MeshError):
            return {**self.payload.to_wire(), "delivery": "unknown"}  # of the inner call; this one has run
        if isinstance(self.payload, (dict, list)):
            return self.payload
        return {"status": "error", "message": self.payload}

    def _details(self) -> Dict[str, Any]:
        if not isinstance(self.payload, dict) or self.payload.get("status") != "error":
            return {}
        code, details = self.payload.get("code"), self.payload.get("details")
        return details if isinstance(code, str) and code in ERROR_CODES and isinstance(details, dict) else {}


class HttpError(RpcError):
    """An error that a gateway with Nest's MeshHttpExceptionFilter answers with: `raise HttpError(404, "no order 7")`.

    response -- the body: an object, or the text in the body that Nest's exceptions have; default: the status in words
    """

    def __init__(self, status: int, response: Any = None) -> None:
        if not _is_http_status(status):
            raise ValueError(f"status must be an HTTP status from 200 to 599; got {status!r}")
        words = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
        body = response
        if not isinstance(response, (dict, list)):
            body = {"message": words if response is None else response, "error": words, "statusCode": status}
        message = body.get("message") if isinstance(body, dict) else None
        wire: Dict[str, Any] = {"status": "error", "code": code_of_http_status(status)}
        wire["message"] = message if isinstance(message, str) else words
        super().__init__({**wire, "details": {"httpStatus": status, "response": body}})


class NoHandlerError(RpcError):
    """A call for which nobody has a handler, answered exactly as Nest does."""

    def __init__(self) -> None:
        super().__init__(NO_HANDLER)

    def to_wire(self) -> Any:
        return NO_HANDLER


def code_of_http_status(status: int) -> str:
    """The code that fits best: FAILED_PRECONDITION for other 4xx, UNKNOWN for the rest."""
    return _CODE_OF_HTTP_STATUS.get(status, "FAILED_PRECONDITION" if 400 <= status < 500 else "UNKNOWN")


def is_failure(err: Any) -> bool:
    """True for an `err` that ends a call: what JavaScript takes for true."""
    return err not in (None, False, 0, "")


def error_from_wire(value: Any, error_id: Any = None) -> Exception:
    """The exception a call raises for the `err` of its response, and the `errorId` beside it."""
    return MeshError.from_wire(value) or RpcError(value, error_id=error_id)


def unavailable(message: str, delivery: str) -> MeshError:
    """The commonest error: the other node cannot be reached, or no longer."""
    return MeshError("UNAVAILABLE", message, delivery=delivery)


def _is_http_status(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 200 <= value <= 599


def error_of(trailers: Dict[str, str]) -> Optional[Exception]:
    """What the headers of an end say: None for OK."""
    status, text = trailers.get("mesh-status"), trailers.get("mesh-error")
    if status is None:
        return unavailable("the call stream ended without a status", "unknown")
    if status == "OK":
        return None
    code = status if status in ERROR_CODES else "UNKNOWN"
    if text is None:
        return MeshError(code, f"the call ended with the status {status}")
    try:
        return error_from_wire(json.loads(text), trailers.get("mesh-error-id"))
    except (ValueError, RecursionError):
        return MeshError(code, f"the call ended with the status {status} and an error that is not JSON")
