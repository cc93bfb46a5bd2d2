"""What goes wrong: errors of the mesh itself (closed list of codes) and errors that a handler throws on purpose."""

from __future__ import annotations

from typing import Any, Dict, Optional

_CODES = """
CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED
FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED
"""
#: The closed list of codes; the names and meanings are those of gRPC (doc/statuscodes.md).
ERROR_CODES = frozenset(_CODES.split())

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
    """A handler's own error, as Nest's RpcException: the payload reaches the caller, a string as its `message`.

    On the calling side this is what a call raises for such an answer; `payload` is what came over the wire.
    """

    def __init__(self, payload: Any) -> None:
        super().__init__(payload)
        self.payload = payload

    def to_wire(self) -> Any:
        """The `err` of a response packet."""
        return {"status": "error", "message": self.payload} if isinstance(self.payload, str) else self.payload


class NoHandlerError(RpcError):
    """A call for which nobody has a handler, answered exactly as Nest does."""

    def __init__(self) -> None:
        super().__init__(NO_HANDLER)

    def to_wire(self) -> Any:
        return NO_HANDLER


def error_from_wire(value: Any) -> Exception:
    """The exception a call raises for the `err` of its response."""
    return MeshError.from_wire(value) or RpcError(value)


def unavailable(message: str, delivery: str) -> MeshError:
    """The commonest error: the other node cannot be reached, or no longer."""
    return MeshError("UNAVAILABLE", message, delivery=delivery)
