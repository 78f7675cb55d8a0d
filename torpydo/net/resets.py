"""Whether a TCP connection has ended or was torn: Twisted's reactor on Linux cannot always tell.

When the kernel has noted a reset and not yet that there is nothing more to read, the reactor sees an error without
anything to read, and takes that for an orderly end: of 50 000 resets on loopback, three. For whoever passes streams on
that would be an end in the middle of a file. Called by whatever has a connection to a program: exits, proxies.
"""

from __future__ import annotations

import socket

__all__ = ["was_reset"]


def was_reset(transport: object) -> bool:
    """Whether the other side has torn the connection whose ``readConnectionLost`` is called now.

    If it is true, ``transport.abortConnection()`` makes an error of what looked like an end.

    :param transport: one of Twisted's; of what has no socket it is false
    """
    connection = getattr(transport, "socket", None)
    try:
        return connection is not None and connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
    except OSError:
        # It is not connected any more.
        return True
