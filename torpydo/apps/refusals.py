"""Why a proxy refuses an application: what an operator's counters and log lines call it."""

from __future__ import annotations

from enum import Enum

__all__ = ["ProxyRefusal"]


class ProxyRefusal(Enum):
    """A cause; the value is the words for it."""

    PROXY_CONNECTIONS = "connections to a proxy, because too many are open (--limit=connections=...); idle ones first"
    PROXY_FILES = "connections to a proxy, because the process has no file descriptors left"
    PROXY_SILENCE = "applications that did not finish their request in time"
    PROXY_REQUEST = "requests that no proxy here understands or offers"
    PROXY_DESTINATION = "destinations that are never told to an exit"
    PROXY_ADDRESS = "IP addresses as destinations, because of --safe-socks"
