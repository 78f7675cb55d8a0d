"""The destination of the loads, a process of its own: ``python -m torpydo.cli.bench.server PORT``.

Raw sockets, one thread for a connection and large buffers, so that it takes little of the processors that are
measured. The first byte of a connection says what it is for.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time

import attrs

from torpydo.cli.bench.marks import Marks

__all__ = ["ECHO", "REPORT", "SINK", "SOURCE", "TOKEN_SIZE", "Destination", "serve"]

SOURCE = b"D"
"""Bytes come until the connection is closed."""
SINK = b"U"
"""Then a token; whatever follows is counted under it."""
ECHO = b"E"
"""What is sent comes back."""
REPORT = b"R"
"""Then a token: what was counted under it comes back as JSON, on a connection that needs no network in between."""
TOKEN_SIZE = 8

BUFFER = 1 << 20


@attrs.define(eq=False)
class Count:
    """One upload."""

    marks: Marks
    ended: bool = False


class Destination:
    """Serves connections, each in a thread of its own."""

    def __init__(self) -> None:
        self._counts: dict[bytes, Count] = {}
        self._services = {SOURCE: self._source, SINK: self._sink, ECHO: self._echo, REPORT: self._report}
        self._block = bytes(range(256)) * (BUFFER // 256)

    def serve(self, connection: socket.socket) -> None:
        """Do what the connection asks for, to its end."""
        with connection:
            try:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                service = self._services.get(connection.recv(1))
                if service is not None:
                    service(connection)
            except OSError:
                # Closed or reset: a load ends in this way.
                return

    def _source(self, connection: socket.socket) -> None:
        while True:
            connection.sendall(self._block)

    def _echo(self, connection: socket.socket) -> None:
        while data := connection.recv(BUFFER):
            connection.sendall(data)

    def _sink(self, connection: socket.socket) -> None:
        token = connection.recv(TOKEN_SIZE, socket.MSG_WAITALL)
        count = self._counts[token] = Count(Marks(time.monotonic()))
        buffer = bytearray(BUFFER)
        try:
            while size := connection.recv_into(buffer):
                count.marks.add(size, time.monotonic())
        finally:
            count.ended = True

    def _report(self, connection: socket.socket) -> None:
        # An upload of which nothing has arrived is one of no bytes.
        count = self._counts.get(connection.recv(TOKEN_SIZE, socket.MSG_WAITALL), Count(Marks(0.0)))
        report = {"ended": count.ended, "times": count.marks.times, "totals": count.marks.totals}
        connection.sendall(json.dumps(report).encode())


def serve(port: int) -> None:
    """Serve on 127.0.0.1:*port* until the process is ended."""
    destination = Destination()
    with socket.create_server(("127.0.0.1", port), backlog=512) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=destination.serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
