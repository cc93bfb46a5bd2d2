"""Calls and events over plain HTTP/2, with JSON in no frames, for curl and the like; and how the node is."""

from __future__ import annotations

import json
import logging
import re
from typing import Any, Callable, Dict, Mapping, Optional, Set
from urllib.parse import unquote_to_bytes

from .call_stream import call_metadata
from .channel import PeerInfo
from .codec import decode_json, encode_json
from .context import Context
from .errors import MeshError, NoHandlerError
from .handlers import Handlers
from .inbound_call import Caller, InboundCall
from .stream import Reader, Stream
from .unary_answer import Refusal, error_of, respond

log = logging.getLogger("nestjs_mesh")

#: A body that stands still for this many seconds is given up.
BODY_TIMEOUT = 30.0


def check_http(http: Optional[Mapping[str, bool]], on_loopback: bool) -> Dict[str, bool]:
    """The option `http` with its defaults; ValueError for what it cannot be."""
    given = dict(http or {})
    for name, value in given.items():
        if name not in ("rpc", "health") or not isinstance(value, bool):
            raise ValueError(f"http must be like {{'rpc': True, 'health': True}}; got {name!r}: {value!r}")
    return {"rpc": on_loopback, "health": True, **given}


class UnaryRequests:
    """Answers the requests of plain HTTP/2.

    http -- which paths are answered: `rpc` for /rpc/ and /events/, `health` for /health and /ready
    reasons -- why the node is not ready; empty when it is
    draining -- True when the node takes no more calls
    """

    def __init__(
        self,
        handlers: Handlers,
        http: Mapping[str, bool],
        reasons: Callable[[], Any],
        draining: Callable[[], bool],
    ) -> None:
        self.handlers = handlers
        #: The calls under way.
        self.calls: Set[UnaryCall] = set()
        self._http = http
        self._reasons = reasons
        self._draining = draining

    def serve(self, stream: Stream) -> bool:
        """Takes the request, or answers why not; False when its path is none of these."""
        path = stream.headers.get(":path", "").split("?")[0]
        found = re.fullmatch(r"/(?:(health|ready)|(rpc|events)/(.*))", path, re.DOTALL)
        if found is None:
            return False
        try:
            self._serve(stream, found.group(1) or found.group(2), found.group(3) or "")
        except Refusal as refusal:
            refusal.answer(stream)
        return True

    def _serve(self, stream: Stream, kind: str, name: str) -> None:
        option = "rpc" if kind in ("rpc", "events") else "health"
        if not self._http[option]:
            raise Refusal("NOT_FOUND", f"/{kind} is switched off at this node (option http['{option}'])")
        method, takes = stream.headers.get(":method", ""), ["POST"] if option == "rpc" else ["GET", "HEAD"]
        if method not in takes:
            allowed = {"allow": ", ".join(takes)}
            raise Refusal("UNIMPLEMENTED", f"/{kind} takes {' or '.join(takes)}, not {method}", 405, allowed)
        if kind == "health":
            respond(stream, 200, b'{"status":"live"}')
        elif kind == "ready":
            reasons = self._reasons()
            ready: Dict[str, Any] = {"status": "not ready", "reasons": reasons} if reasons else {"status": "ready"}
            respond(stream, 503 if reasons else 200, json.dumps(ready, separators=(",", ":")).encode())
        elif self._draining():
            raise Refusal("UNAVAILABLE", "this node is shutting down")
        else:
            UnaryCall(self, stream, _route_in(name, stream.headers), is_event=kind == "events")


class UnaryCall(Reader, Caller):
    """One call or event. It ends with its answer, at its deadline, or when the caller leaves."""

    def __init__(self, requests: UnaryRequests, stream: Stream, route: str, is_event: bool) -> None:
        headers = stream.headers
        budget, length = headers.get("x-mesh-timeout", ""), headers.get("content-length", "")
        if budget and not re.fullmatch(r"\d{1,10}", budget):
            what = f"the header x-mesh-timeout must be a whole number of milliseconds, not {budget[:100]}"
            raise Refusal("INVALID_ARGUMENT", what)
        if budget and int(budget) == 0:
            raise Refusal("DEADLINE_EXCEEDED", "the call's timeout had passed when it arrived")
        self._loop = stream.connection.loop
        self._limit = stream.connection.max_frame_bytes
        if length.isdigit() and int(length) > self._limit:
            raise _too_large(length, self._limit)
        self._requests = requests
        self._stream = stream
        self._is_event = is_event
        self._body = bytearray()
        self._values = 0
        self._held: Optional[bytes] = None
        self._call = InboundCall(self, stream.connection.deadlines)
        extended = "x-mesh-version" in headers
        service = headers.get("x-service-name", "")
        peer = PeerInfo(service, headers.get("x-mesh-node-id"), stream.connection.address, extended)
        deadline = self._loop.time() + int(budget) / 1000 if budget else None
        self._ctx = Context(route, peer, call_metadata(headers), deadline)
        late = MeshError("DEADLINE_EXCEEDED", f"no answer within {budget} ms (x-mesh-timeout)")
        self._timer = self._loop.call_at(deadline, self._call.fail, late) if deadline is not None else None
        self._stall = self._loop.call_later(BODY_TIMEOUT, self._stalled)
        stream.reader, stream.on_bytes = self, self._on_bytes
        requests.calls.add(self)

    # --- the request ---

    def _on_bytes(self, data: bytes) -> None:
        if self._stall.cancelled():
            return  # it is answered
        self._stall.cancel()
        self._body += data
        if len(self._body) > self._limit:
            self._refuse(_too_large(f"more than {self._limit}", self._limit))
        else:
            self._stall = self._loop.call_later(BODY_TIMEOUT, self._stalled)

    def on_end(self, error: Optional[MeshError]) -> None:
        if self._stall.cancelled():
            return
        self._stall.cancel()
        try:
            data = decode_json(self._body) if self._body else None
        except ValueError as fault:
            self._refuse(Refusal("INVALID_ARGUMENT", f"the body is not UTF-8 JSON: {fault}"))
            return
        handlers, ctx = self._requests.handlers, self._ctx
        if self._is_event:
            respond(self._stream, 202)
            takers = handlers.receive_event(ctx.pattern, ctx.peer.service)
            if takers:
                handlers.events.start(takers, data, ctx)
            return
        served = handlers.find_handler(ctx.pattern)
        if served is not None:
            self._call.run(served, data, ctx)
        else:
            self._call.refuse(NoHandlerError())

    def on_closed(self, error: Optional[MeshError]) -> None:
        self._stall.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._call.cancel()
        self._requests.calls.discard(self)

    def _stalled(self) -> None:
        self._refuse(Refusal("DEADLINE_EXCEEDED", f"the body stood still for {BODY_TIMEOUT:g} s", 408))

    def _refuse(self, refusal: Refusal) -> None:
        self._stall.cancel()
        self._call.cancel()
        refusal.answer(self._stream)

    # --- the answer ---

    async def ready(self, call: InboundCall) -> None:
        await self._stream.drain()

    def done(self, call: InboundCall) -> None:
        """The end of its stream says so."""

    def reply(self, call: InboundCall, answer: Dict[str, Any]) -> None:
        self._stall.cancel()
        if "err" in answer:
            status, error = error_of(answer["err"], answer.get("errorId"))
            respond(self._stream, status, self._encode({"error": error}))
            return
        if "response" in answer:
            self._values += 1
            if self._values > 1:
                what = "answers with several values, which a plain answer cannot hold: use a call stream"
                raise MeshError("UNIMPLEMENTED", f"{self._ctx.pattern} {what} (POST /channel with x-mesh-pattern)")
            self._held = self._encode(answer["response"])
        if answer.get("isDisposed"):
            respond(self._stream, 200 if self._values else 204, self._held)

    def _encode(self, value: Any) -> bytes:
        try:
            return encode_json(value, self._limit, "the answer")
        except MeshError as error:
            if error.code == "RESOURCE_EXHAUSTED":  # 429, which is its own, would tell the caller to try again later
                Refusal(error.code, error.message, 500).answer(self._stream)
            raise


def _route_in(name: str, headers: Dict[str, str]) -> str:
    if "origin" in headers:  # any page could make a browser send it to a node on the same machine
        what = f"requests of web pages are not taken (the header origin is {headers['origin'][:100]})"
        raise Refusal("PERMISSION_DENIED", what)
    kind = headers.get("content-type")
    if kind is not None and re.match(r"application/json\s*(;|$)", kind, re.IGNORECASE) is None:
        raise Refusal("INVALID_ARGUMENT", f"the header content-type must be application/json, not {kind[:100]}", 415)
    if not name:
        raise Refusal("INVALID_ARGUMENT", "the path names no route: /rpc/{route} or /events/{route}")
    if re.search(r"%(?![0-9A-Fa-f]{2})", name) is None:
        try:
            return unquote_to_bytes(name).decode("utf-8")
        except UnicodeDecodeError:
            pass
    raise Refusal("INVALID_ARGUMENT", f"the route {name[:100]} is not well-formed percent-encoding")


def _too_large(size: str, limit: int) -> Refusal:
    message = f"a body of {size} bytes is over max_frame_bytes ({limit}) of the receiver"
    return Refusal("RESOURCE_EXHAUSTED", message, 413)
