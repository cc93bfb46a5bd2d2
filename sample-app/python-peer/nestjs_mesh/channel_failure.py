"""What the caller of a raw channel is told, and what the log is, when the handler has failed."""

from __future__ import annotations

import logging
import uuid
from typing import Any, List, Optional, Tuple

from .call_stream import error_trailers
from .channel import Channel
from .errors import MASKED_ERROR, MeshError, RpcError
from .unary_answer import error_of

log = logging.getLogger("nestjs_mesh")

#: The error, and the trailers that say it.
Told = Tuple[MeshError, List[Tuple[str, str]]]


def failure_of(channel: Channel, error: Exception) -> Optional[Told]:
    """What to tell; None when there is nobody any more. Masked, unless it is meant for the caller, as in a call."""
    where = f"the channel {channel.name!r} of {channel.peer.service}"
    if channel.closed and isinstance(error, MeshError):
        log.warning("%s ended: %s", where, error)  # that the caller has left is no fault of the handler
        return None
    told = _meant(where, error) if isinstance(error, RpcError) else _masked(where, error)
    return None if channel.closed else told


def _meant(where: str, error: RpcError) -> Told:
    try:
        told = _told(error.to_wire(), None)
    except MeshError as fault:  # too long for trailers, or no JSON: the log alone has it
        log.error("an error could not be sent: %s", fault.message)
        return _masked(where, error)
    log.error("%s failed: %s", where, told[0])
    return told


def _masked(where: str, error: Exception) -> Told:
    error_id = str(uuid.uuid4())
    log.error("errorId %s: the handler of %s failed", error_id, where, exc_info=error)
    return _told(MASKED_ERROR, error_id)


def _told(err: Any, error_id: Optional[str]) -> Told:
    """A channel carries values of any shape, so what went wrong is always told as a MeshError."""
    body = error_of(err, error_id)[1]
    details = body.get("details")
    known = MeshError(body["code"], body["message"], details=details if isinstance(details, dict) else None)
    answer = {"err": known.to_wire()}
    return known, error_trailers(answer if error_id is None else {**answer, "errorId": error_id})
