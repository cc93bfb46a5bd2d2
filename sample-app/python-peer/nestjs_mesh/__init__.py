"""A node of the mesh in Python: serves and calls NestJS services over HTTP/2, found through Redis or a directory."""

from .channel import Channel, PeerInfo
from .errors import ERROR_CODES, HttpError, MeshError, RpcError
from .handlers import Context
from .peer import Peer
from .tls import Tls

__all__ = ["ERROR_CODES", "Channel", "Context", "HttpError", "MeshError", "Peer", "PeerInfo", "RpcError", "Tls"]
