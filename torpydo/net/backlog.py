"""How many connections wait in the system until a port takes them. Called by node, pool and the client's proxies."""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IListeningPort
from twisted.internet.tcp import Port

__all__ = ["BACKLOG", "lengthen_backlog"]

BACKLOG: Final = 1024
"""Connections that wait in the system until they are taken: a flood must fill it faster than they are, or those who
come meanwhile would have to try again after a second ..."""
TWISTED_BACKLOG: Final = 50
"""... and what it is if the endpoint does not say."""


def lengthen_backlog(port: IListeningPort) -> None:
    """Let :data:`BACKLOG` connections wait at a port, unless its endpoint says how many may.

    :param port: one that listens; what is no port of Twisted's own stays as it is
    """
    if isinstance(port, Port) and port.backlog == TWISTED_BACKLOG:
        # To listen again is how it is changed.
        port.socket.listen(BACKLOG)
