"""Packets: the values in frames, with Nest's own words, and the route a pattern stands for."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any, Dict, Optional

from .codec import is_call_id, to_json

_PATTERN = (str, int, float, dict, list)


def kind_of(value: Any) -> Optional[str]:
    """Which packet `value` is; None for what is no packet.

    It is a request, event, response, cancel, open, drain, load (of which this peer makes no use yet) or a placeholder:
    `{id, open: TOKEN}`, where a packet of an answer would be that comes on a stream of its own.
    """
    if not isinstance(value, dict):
        return None
    is_pattern = "pattern" in value and _is_pattern(value["pattern"])
    if "id" not in value:
        if is_pattern:
            return "event"
        if value.get("drain") is True:
            return "drain"
        if isinstance(value.get("open"), str):
            return "open"
        return "load" if isinstance(value.get("load"), dict) else None
    if not is_call_id(value["id"]):
        return None
    if is_pattern:
        return "event" if "event" in value and value["event"] is True else "request"
    if "cancel" in value and value["cancel"] is True:
        return "cancel"
    if "open" in value and isinstance(value["open"], str):
        return "placeholder"
    return "response" if "response" in value or "isDisposed" in value or "err" in value else None


def _is_pattern(value: Any) -> bool:
    return isinstance(value, _PATTERN) and not isinstance(value, bool)


def new_token() -> str:
    """A text that no peer can guess, for a stream that it is asked to open."""
    return secrets.token_urlsafe(18)


def is_token(value: Any) -> bool:
    """A token is 1 to 128 characters that a header can carry."""
    return isinstance(value, str) and re.fullmatch(r"[\x21-\x7e]{1,128}", value) is not None


def string_metadata(value: Any) -> Dict[str, str]:
    """The metadata of a received packet as strings: what is no string arrives as its JSON."""
    if not isinstance(value, dict):
        return {}
    return {key: item if isinstance(item, str) else to_json(item) for key, item in value.items()}


def check_metadata(metadata: Optional[Dict[str, str]]) -> Dict[str, str]:
    """Metadata to be sent is an object of strings, as in Nest; ValueError otherwise."""
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ValueError(f"metadata must map strings to strings; got {key!r}: {value!r}")
    return metadata or {}


def route_of(pattern: Any, depth: int = 0) -> str:
    """The route of a pattern by Nest's rules (transformPatternToRoute): `{'cmd': 'sum'}` is `{"cmd":"sum"}`."""
    if isinstance(pattern, str):
        return pattern
    if isinstance(pattern, float) and pattern.is_integer():
        return str(int(pattern))  # as JavaScript writes it
    if isinstance(pattern, (list, tuple)):
        pattern = {str(index): item for index, item in enumerate(pattern)}
    if not isinstance(pattern, dict):
        return json.dumps(pattern)
    if depth > 5:
        return "[MAX_DEPTH_REACHED]"
    if len(pattern) > 20:
        return "[TOO_MANY_KEYS]"
    parts = []
    for key in sorted(map(str, pattern), key=lambda name: (name.casefold(), name.swapcase())):
        value = pattern[key]
        text = f'"{_escape(value)}"' if isinstance(value, str) else route_of(value, depth + 1)
        parts.append(f'"{_escape(key)}":{text}')
    return "{" + ",".join(parts) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
