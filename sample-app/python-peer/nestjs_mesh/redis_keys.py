"""The names under which the mesh keeps things in Redis: those of the protocol, and those that lie beside them."""

from __future__ import annotations

from typing import Tuple

#: The channel of the joins and leaves of all services, for whoever wants to see everything.
EVENTS_CHANNEL = "mesh:events"
#: A sorted set of the services that take events; the score is when that is over, in epoch milliseconds. Also the
#: channel on which a service is published that was not in it.
SUBSCRIBERS = "mesh:subscribers"
#: A random mark; another one means that Redis lost its data.
EPOCH = "mesh:epoch"
#: When the keyspace was walked last, in epoch milliseconds of Redis.
SCAN = "mesh:scan"
#: Held by whoever walks; it ends by itself, and before that nobody else begins.
SCAN_LOCK = "mesh:scan:lock"
RECORD_PATTERN = "mesh:service:*"

_PREFIX = "mesh:service:"


def record_key(service: str, node_id: str) -> str:
    """The record of one node: fixed by the protocol."""
    return f"{_PREFIX}{service}:{node_id}"


def index_key(service: str) -> str:
    """The sorted set of the nodes of a service; the score is when the lease ends, in epoch milliseconds of Redis."""
    return f"mesh:index:{service}"


def log_key(service: str) -> str:
    """The log of the nodes of a service that came, changed or went: a stream whose entries hold node ids."""
    return f"mesh:changes:{service}"


def events_channel(service: str) -> str:
    """The channel on which the changes of one service are published."""
    return f"{EVENTS_CHANNEL}:{service}"


def place_of_key(key: str) -> Tuple[str, str]:
    """The service and the id in the key of a record; a service name has no colon."""
    service, _, node_id = key[len(_PREFIX) :].rpartition(":")
    return service, node_id
