"""The header names of the wire, and what may travel as one."""

from __future__ import annotations

import re
from typing import Any, Dict, Optional
from urllib.parse import quote

#: The raw channel without a name.
DEFAULT_CHANNEL = "default"
#: Headers that are the protocol's own or HTTP's, like all that begin with x-mesh-; every further one is metadata.
_OWN = {"x-service-name", "x-session-id", "mesh-status", "mesh-error", "mesh-error-id"}
_OWN |= {"host", "date", "content-type", "content-length", "te", "accept-encoding"}
#: HTTP/2 forbids these (RFC 9113, 8.2.2).
_FORBIDDEN = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}


def encode_component(text: str) -> str:
    """Percent-encodes as JavaScript's encodeURIComponent does."""
    return quote(text, safe="!*'()")


def metadata_of(headers: Dict[str, str]) -> Dict[str, str]:
    """The metadata among received headers."""
    return {key: value for key, value in headers.items() if not _is_own(key) and not key.startswith(":")}


def check_headers(metadata: Optional[Dict[str, str]]) -> Dict[str, str]:
    """The metadata of a channel as headers: names in lower case; ValueError for what HTTP/2 cannot carry."""
    result = {}
    for key, value in (metadata or {}).items():
        name = key.lower()
        if _is_own(name) or name in _FORBIDDEN or not re.fullmatch(r"[a-z0-9!#$%&'*+.^_`|~-]+", name):
            raise ValueError(f"channel metadata {key!r} cannot be used as a header name")
        result[name] = check_header_value(f"channel metadata {key!r}", value)
    return result


def check_header_value(what: str, value: Any) -> str:
    """Text that can be the value of a header; ValueError otherwise."""
    if not isinstance(value, str) or not re.fullmatch(r"[\x20-\x7e]*", value) or value != value.strip():
        raise ValueError(f"{what} must be printable ASCII without spaces around; got {value!r}")
    return value


def _is_own(name: str) -> bool:
    return name in _OWN or name.startswith("x-mesh-")
