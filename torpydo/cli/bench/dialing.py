"""Blocking connections to the benchmark's destination: straight, or through a SOCKS5 port, which may know it by a name.

The user name of SOCKS is the isolation: one circuit for a name, and another for another name.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from torpydo.cli.constants import LOOPBACK
from torpydo.errors import StreamFailed

__all__ = ["Dialer", "end", "reset"]

SILENCE = 60
"""Seconds without an answer after which a load has failed. The socket keeps blocking: a time-out of Python's own
would cost one more system call for every read."""


def _receive(connection: socket.socket, size: int) -> bytes:
    data = connection.recv(size, socket.MSG_WAITALL)
    if len(data) < size:
        raise StreamFailed("the proxy closed the connection before it had answered")
    return data


@attrs.frozen
class Dialer:
    """Opens connections to *host*:*port*.

    :param socks_port: the proxy's; ``None`` goes straight
    :param own_port: the destination's own on this machine, if *port* is that of something which forwards to it
    :param host: this machine, or a name that the proxy knows
    """

    port: int
    socks_port: int | None = None
    own_port: int | None = None
    host: str = LOOPBACK

    def straight(self) -> Dialer:
        """The same destination with nothing in between."""
        return Dialer(self.own_port or self.port)

    def dial(self, user: str) -> socket.socket:
        """A connection on the circuit of *user*.

        :raises StreamFailed: it says what the proxy answered
        """
        connection = self.approach(user)
        self.request(connection)
        return connection

    def approach(self, user: str) -> socket.socket:
        """Do what comes before the request: connect to the proxy and tell it the user's name.

        :raises StreamFailed: it says what the proxy answered
        """
        connection = socket.socket()
        with self._closing_on_failure(connection):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", SILENCE, 0))
            if self.socks_port is not None:
                connection.connect((LOOPBACK, self.socks_port))
                self._greet(connection, user.encode())
        return connection

    def request(self, connection: socket.socket) -> None:
        """Ask the proxy for the destination, or connect to it if there is no proxy; returns once it is reached.

        :raises StreamFailed: it says what the proxy answered
        """
        with self._closing_on_failure(connection):
            if self.socks_port is None:
                connection.connect((self.host, self.port))
            else:
                self._ask(connection)

    @contextmanager
    def _closing_on_failure(self, connection: socket.socket) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            connection.close()
            raise StreamFailed(f"no connection to {self.host}:{self.port} within {SILENCE} s") from None
        except OSError as error:
            connection.close()
            raise StreamFailed(f"no connection to {self.host}:{self.port}: {error}") from None
        except StreamFailed:
            connection.close()
            raise

    def _greet(self, connection: socket.socket, user: bytes) -> None:
        """RFC 1928 and RFC 1929, message by message as most programs do it."""
        connection.sendall(b"\x05\x01\x02")
        if _receive(connection, 2) != b"\x05\x02":
            raise StreamFailed("the proxy does not take a user name")
        connection.sendall(b"\x01" + bytes((len(user),)) + user + b"\x01x")
        if _receive(connection, 2)[1]:
            raise StreamFailed("the proxy refused the user name")

    def _ask(self, connection: socket.socket) -> None:
        connection.sendall(b"\x05\x01\x00" + self._where() + self.port.to_bytes(2, "big"))
        status, kind = struct.unpack("xBxB", _receive(connection, 4))
        if status:
            raise StreamFailed(f"the proxy answered with error {status}")
        _receive(connection, {1: 4, 4: 16}.get(kind, 4) + 2)

    def _where(self) -> bytes:
        if self.host == LOOPBACK:
            return b"\x01" + socket.inet_aton(LOOPBACK)
        name = self.host.encode("ascii")
        return b"\x03" + bytes((len(name),)) + name


def end(connection: socket.socket) -> None:
    """Close in order, and return when the other side has closed as well."""
    try:
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            continue
    except OSError as error:
        raise StreamFailed(f"a connection was not closed in order: {error}") from None
    finally:
        connection.close()


def reset(connection: socket.socket) -> None:
    """Close at once and drop what is under way."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
