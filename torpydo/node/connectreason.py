"""What a client is told about a connection that could not be opened. Called by exits."""

from __future__ import annotations

import errno
from typing import Final

from twisted.internet.error import ConnectError
from twisted.internet.error import TimeoutError as ConnectTimedOut

from torpydo.tpdp import EndReason

__all__ = ["connect_reason"]

_BY_ERRNO: Final = {
    errno.ECONNREFUSED: EndReason.CONNECT_REFUSED,
    errno.ETIMEDOUT: EndReason.TIMEOUT,
    errno.EHOSTUNREACH: EndReason.HOST_UNREACHABLE,
    errno.EHOSTDOWN: EndReason.HOST_UNREACHABLE,
    errno.ENETUNREACH: EndReason.NETWORK_UNREACHABLE,
    errno.EADDRNOTAVAIL: EndReason.NETWORK_UNREACHABLE,
    errno.EAFNOSUPPORT: EndReason.NETWORK_UNREACHABLE,
    errno.EMFILE: EndReason.RESOURCE_LIMIT,
    errno.ENFILE: EndReason.RESOURCE_LIMIT,
    errno.ENOBUFS: EndReason.RESOURCE_LIMIT,
}


def connect_reason(error: BaseException) -> EndReason:
    """What a client is told about a connection that could not be opened."""
    if isinstance(error, ConnectTimedOut):
        return EndReason.TIMEOUT
    number = error.osError if isinstance(error, ConnectError) else None
    return _BY_ERRNO.get(number, EndReason.MISC) if isinstance(number, int) else EndReason.MISC
