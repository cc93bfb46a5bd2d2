"""The streams that this side wants: opened where it has dialled, asked for where the other side has.

HTTP/2 lets only the side that dialled open streams. So the other one says `{open: TOKEN, headers}` on the packet
channel, the dialling side opens a stream with `x-mesh-open: TOKEN`, and from there on their roles are swapped.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple, TypeVar

from h2.errors import ErrorCodes

from .codec import CODEC_HEADER, CallId, agreed_codec
from .errors import MeshError, unavailable
from .keep_alive import CONNECT_TIMEOUT
from .packets import is_token, new_token
from .side_packets import Arrival, Arrivals, Taker
from .stream import HeaderList, Reader, Stream

if TYPE_CHECKING:
    from .packet_channel import PacketChannel
    from .session import Session

R = TypeVar("R", bound=Reader)

_CODE_OF_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
_CODE_OF_STATUS.update(dict.fromkeys((404, 405, 501), "UNIMPLEMENTED"))
_CODE_OF_STATUS.update({429: "RESOURCE_EXHAUSTED", **dict.fromkeys((500, 502, 503, 504), "UNAVAILABLE")})


class Opening:
    """How one session comes to further streams, whichever side dialled."""

    def __init__(self, session: Session) -> None:
        self.arrivals = Arrivals()
        self._session = session
        self._asked: Dict[str, Tuple[Stream, PacketChannel]] = {}

    def begin(self, headers: HeaderList, packets: Optional[PacketChannel] = None) -> Stream:
        """A stream that may be written to at once; MeshError (`not-sent`) when none can be had."""
        if self._session.record is not None:
            return self.request(headers, packets)
        packets = packets or self._session.usable_packets
        if packets is None or not packets.peer.extended:
            raise unavailable("the node can be asked for no stream: it has no packet channel to this one", "not-sent")
        return self._ask(new_token(), {"headers": dict(headers)}, packets)

    async def open(self, headers: HeaderList, reader: Callable[[Stream], R], deadline: Optional[float] = None) -> R:
        """Opens a stream; `reader` makes who reads it, once the node has accepted it."""
        session, core = self._session, self._session.core
        packets = None if session.record is not None else await session.packets(deadline)
        stream = self.begin([*headers, *core.offer()], packets)
        opened: List[R] = []

        def on_answer() -> None:
            if self.refusal(stream) is None:
                if core.codec != "json":
                    stream.codec, _ = agreed_codec(stream.headers)
                stream.reader = reader(stream)
                opened.append(stream.reader)

        stream.on_answer = on_answer
        left = CONNECT_TIMEOUT if deadline is None else max(0.0, deadline - session.connection.loop.time())
        stream.answer_within(min(left, CONNECT_TIMEOUT))
        try:
            await asyncio.wait({stream.answered})  # not wait_for: before Python 3.12 it can swallow a cancellation
            stream.answered.result()
            if opened:
                return opened[0]
            raise self.refusal(stream) or unavailable("the stream was not accepted", "refused")
        except asyncio.CancelledError:
            opened.clear()  # nobody is left to use it
            raise
        except MeshError as error:
            delivery = "not-sent" if error.delivery == "not-sent" else "refused"
            raise MeshError(error.code, error.message, delivery=delivery, details=error.details) from error
        finally:
            if not opened:
                stream.reset(ErrorCodes.CANCEL)

    def refusal(self, stream: Stream) -> Optional[MeshError]:
        """Why the answer of a stream does not accept it; None when it does."""
        record, address = self._session.record, self._session.connection.address
        status, node_id = stream.headers.get(":status", ""), stream.headers.get("x-mesh-node-id")
        if status != "200":
            code = _CODE_OF_STATUS.get(int(status) if status.isdigit() else 0, "UNKNOWN")
            message = f"{self._session.service} at {address} answered {status} to /channel"
            return MeshError(code, message, delivery="refused")
        if record is not None and node_id not in (None, record.id):
            return unavailable(f"{address} is the node {node_id} now, not {record.id}", "refused")
        codec, offered = stream.headers.get(CODEC_HEADER, "json"), self._session.core.codec
        if codec not in ("json", offered):
            message = f"{address} answers in the codec {codec[:100]!r}, and was offered {offered!r} (option codec)"
            return MeshError("FAILED_PRECONDITION", message, delivery="refused")
        return None

    # --- large packets ---

    def begin_answer(self, call_id: CallId, packets: PacketChannel) -> Tuple[Stream, str]:
        """A stream for a packet of an answer, and its token, of which the place-holder has told the other side."""
        token, place_holder = new_token(), {"id": call_id}
        if self._session.record is None:
            return self._ask(token, place_holder, packets), token
        stream = self.request([("x-mesh-packet", token)], packets)
        packets.stream.send({**place_holder, "open": token}, "a place-holder")
        return stream, token

    def fetch(self, token: str, packets: PacketChannel, taker: Taker) -> Arrival:
        """Takes the packet that the other side has for a token, on the stream that one of us opens for it."""
        if self._session.record is None:
            return self.arrivals.take(token, taker)
        arrival = Arrival(taker)
        try:
            stream = self.request([("x-mesh-open", token)], packets)
        except MeshError as error:
            arrival.fail(error)
            return arrival

        def on_answer() -> None:
            refusal = self.refusal(stream)
            if refusal is not None:
                arrival.fail(refusal)

        stream.on_answer = on_answer
        stream.answer_within(CONNECT_TIMEOUT)
        stream.end()
        arrival.carry(stream)
        return arrival

    def drop(self, token: Any) -> None:
        """The packet of a place-holder is not wanted."""
        if self._session.record is None and is_token(token):
            self.arrivals.take(token, lambda packet, size, error: None).cancel()

    # --- what was asked for ---

    def asked(self, token: str) -> Optional[Stream]:
        """The stream that was asked for by a token, which is used up by that."""
        stream, _ = self._asked.pop(token, (None, None))
        return stream if stream is not None and not stream.closed else None

    def forget(self, packets: PacketChannel) -> None:
        """A packet channel is over, and what was asked for on it cannot come."""
        error = unavailable(f"the channel to {packets.peer.service} was closed", "not-sent")
        for stream in [stream for stream, on in self._asked.values() if on is packets]:
            stream.close(error)

    def _ask(self, token: str, packet: Dict[str, Any], packets: PacketChannel) -> Stream:
        packets.stream.send({**packet, "open": token}, "the wish for a stream")
        stream = Stream(self._session.connection)
        stream.codec = packets.stream.codec
        self._asked[token] = stream, packets
        stream.answered.add_done_callback(lambda _: self._asked.pop(token, None))
        stream.answer_within(CONNECT_TIMEOUT)
        return stream

    def request(self, headers: HeaderList, packets: Optional[PacketChannel] = None) -> Stream:
        """A stream of the side that has dialled, with the codec of `packets`; MeshError where no more can be had."""
        session, connection = self._session, self._session.connection
        assert session.record is not None
        authority = f"{session.record.host}:{session.record.port}"
        scheme = "https" if connection.secure else "http"
        head = [(":method", "POST"), (":scheme", scheme), (":authority", authority), (":path", "/channel")]
        stream = connection.open_stream(
            [*head, ("x-service-name", session.core.service), *session.core.identity(), *headers]
        )
        if packets is not None:
            stream.codec = packets.stream.codec
        return stream
