"""A node of the mesh in Python: serves and calls NestJS services over HTTP/2, found through Redis or a directory."""

from .channel import Channel, PeerInfo
from .context import Context
from .errors import ERROR_CODES, HttpError, MeshError, RpcError
from .events import EventCounts
from .outbound_events import Receipt
from .peer import Peer
from .tls import Tls

__all__ = [
    "ERROR_CODES",
    "Channel",
    "Context",
    "EventCounts",
    "HttpError",
    "MeshError",
    "Peer",
    "PeerInfo",
    "Receipt",
    "RpcError",
    "Tls",
]
