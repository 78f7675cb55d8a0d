"""Writing to a socket at once: Twisted asks the reactor first whether it takes anything, and it nearly always does.

That question is a turn of the reactor for each piece of a stream, at each of its ends. Called by whatever has a
connection to a program: exits, proxies, services.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.tcp import Connection

__all__ = ["unwritten", "write_now"]


def unwritten(transport: Any) -> int:
    """Bytes that a transport of Twisted's has and its socket has not taken: there is no public name for all of them."""
    return len(transport.dataBuffer) - int(transport.offset) + int(transport._tempDataLen)


def write_now(transport: Any, data: bytes) -> None:
    """As ``transport.write``; what the socket takes has left when this returns.

    :param transport: what is no plain socket of Twisted's, or has something to write already, waits as it always does
    """
    if isinstance(transport, Connection) and not transport.TLS and transport.connected and not unwritten(transport):
        sent = transport.writeSomeData(data)
        # A connection that is lost shows when the rest is written.
        if isinstance(sent, int) and sent > 0:
            data = data[sent:]
            if not data:
                return
    transport.write(data)
