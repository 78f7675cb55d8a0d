"""What a link asks of its socket: that as little as possible waits in the kernel, where no circuit can pass another.

Called by links.
"""

from __future__ import annotations

import socket
import struct
from typing import Any, Final

UNSENT: Final = 128 * 1024
"""Bytes that the kernel takes beyond what is under way: enough to be busy until the next turn of the reactor."""
NEAR: Final = 0.002
"""Seconds of round trip up to which a peer counts as near."""
NEAR_BUFFER: Final = 64 * 1024
"""Bytes that may wait to be read from a near peer (Linux takes twice as much memory). What a far one may send is left to
the kernel, which gives it as much as the distance needs."""

# tcp_info of Linux: eight bytes, then u32s, of which the sixteenth is the smoothed round trip in microseconds.
_RTT: Final = struct.Struct("=68xI")


def tune(sock: Any) -> None:
    """Set the options of a connected socket."""
    if sock.family == socket.AF_UNIX:
        return
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
    if round_trip(sock) <= NEAR:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NEAR_BUFFER)


def round_trip(sock: Any) -> float:
    """Seconds that the kernel measured while it connected; infinite where it does not tell."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return float("inf")
    info = sock.getsockopt(socket.IPPROTO_TCP, option, _RTT.size)
    if not isinstance(info, bytes) or len(info) < _RTT.size:
        return float("inf")
    microseconds: int = _RTT.unpack(info)[0]
    return microseconds / 1e6
