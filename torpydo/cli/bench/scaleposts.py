"""HTTP requests over kept-alive connections, at a rate or as fast as they are answered. Raw sockets and one thread.

A request has a time at which it is due; its latency counts from then, so a server that falls behind does not look fast.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence

import attrs

from torpydo.errors import StreamFailed

__all__ = ["Answers", "Posted", "post_all"]

READ = 65536
# Seconds without any answer.
SILENCE = 10.0


@attrs.define(eq=False)
class Posted:
    """What became of the requests."""

    statuses: Counter[int] = attrs.field(factory=Counter)
    latencies: list[float] = attrs.field(factory=list)
    """Seconds, of those that were answered with 200."""
    seconds: float = 0.0
    """From the first request to the last answer."""


class Answers:
    """The statuses of HTTP answers on one connection; each says its length."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive_data(self, data: bytes) -> list[int]:
        """Take bytes as they come.

        :returns: the statuses of the answers that they complete
        :raises StreamFailed: for an answer that does not say its length
        """
        self._buffer += data
        statuses = []
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end]).lower()
            _, found, rest = head.partition(b"\r\ncontent-length:")
            if not found:
                raise StreamFailed("an HTTP answer has no Content-Length; is this the pool's port?")
            whole = end + 4 + int(rest.split(b"\r\n", 1)[0])
            if len(self._buffer) < whole:
                break
            del self._buffer[:whole]
            statuses.append(int(head[9:12]))
        return statuses


@attrs.define(eq=False)
class _Connection:
    socket: socket.socket
    due: float = 0.0
    answers: Answers = attrs.field(factory=Answers)


def post_all(port: int, path: str, bodies: Sequence[bytes], *, connections: int, rate: float | None) -> Posted:
    """Post every body to 127.0.0.1:*port*.

    :param connections: how many are open; each has one request under way
    :param rate: requests a second; ``None``: the next as soon as a connection is free
    :raises StreamFailed: if the server closes a connection, or is silent
    """
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/octet-stream\r\n"
    requests = deque(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies)
    posted = Posted()
    free: deque[_Connection] = deque()
    with selectors.DefaultSelector() as selector:
        try:
            for _ in range(connections):
                connection = _Connection(socket.create_connection(("127.0.0.1", port)))
                connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection.socket, selectors.EVENT_READ, connection)
                free.append(connection)
            _run(selector, free, requests, posted, rate, connections)
        except OSError as error:
            raise StreamFailed(f"the pool closed a connection: {error}") from None
        finally:
            for key in list(selector.get_map().values()):
                connection = key.data
                connection.socket.close()
    return posted


def _dues(rate: float | None, began: float) -> Iterator[float]:
    number = 0
    while True:
        yield began if rate is None else began + number / rate
        number += 1


def _run(
    selector: selectors.BaseSelector,
    free: deque[_Connection],
    requests: deque[bytes],
    posted: Posted,
    rate: float | None,
    connections: int,
) -> None:
    began = heard = now = time.perf_counter()
    dues = _dues(rate, began)
    due = next(dues)
    while requests or len(free) < connections:
        while requests and free and due <= now:
            connection = free.popleft()
            connection.due = now if rate is None else due
            connection.socket.sendall(requests.popleft())
            due = next(dues)
        wait = SILENCE if not requests or not free else max(due - now, 0.0)
        for key, _ in selector.select(wait):
            connection = key.data
            data = connection.socket.recv(READ)
            if not data:
                raise StreamFailed("the pool closed a connection while it was asked")
            for status in connection.answers.receive_data(data):
                heard = time.perf_counter()
                posted.statuses[status] += 1
                if status == 200:
                    posted.latencies.append(heard - connection.due)
                free.append(connection)
        now = time.perf_counter()
        if now - heard > SILENCE:
            raise StreamFailed(f"the pool has not answered for {SILENCE:.0f} seconds")
    posted.seconds = heard - began
