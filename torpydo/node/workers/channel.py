"""One end of a socket pair between two processes: bytes in order, and file descriptors that come along with them.

Twisted's own UNIX transport does not tell when a descriptor has left, so nobody could close it. Decides nothing.
Called by processes and by the worker's main program.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["LOST", "Channel"]

READ_SIZE: Final = 256 * 1024
"""Bytes that one read takes at the most."""
MAX_DESCRIPTORS: Final = 16
"""Descriptors that one read takes at the most; a read ends with the first one on Linux."""
LOST: Final = -1
"""In the place of a descriptor for which this process had no room."""

Receive = Callable[[bytes, Sequence[int]], None]


@implementer(IReadWriteDescriptor)
class Channel:
    """A connected stream socket.

    :param connection: a socket of the UNIX family; the channel owns it
    :param receive: called with what was read: bytes, and the descriptors that came before their end
    :param lost: called once, when the other end is gone; not after :meth:`close`
    :param given_up: called for each descriptor that the system did not take, which is closed, with its bytes unsent
    """

    def __init__(
        self,
        reactor: Any,
        connection: socket.socket,
        receive: Receive,
        lost: Callable[[], None] = lambda: None,
        given_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._reactor = reactor
        self._socket = connection
        self._receive = receive
        self._lost = lost
        self._given_up = given_up
        self._queue: deque[tuple[memoryview, int | None]] = deque()
        self.queued = 0
        """Bytes that wait."""
        self._closed = False
        connection.setblocking(False)

    def start(self) -> None:
        """Begin to read."""
        self._reactor.addReader(self)

    def send(self, data: bytes, descriptor: int | None = None) -> None:
        """Send *data*, and with its first byte a descriptor, which is closed here as soon as it has left."""
        if self._closed:
            if descriptor is not None:
                os.close(descriptor)
            return
        if not self._queue:
            self._reactor.addWriter(self)
        self._queue.append((memoryview(data), descriptor))
        self.queued += len(data)

    def flush(self) -> None:
        """Write now what the other end takes at once: the reactor does not come to it any more."""
        if not self._closed:
            self.doWrite()

    def close(self) -> None:
        """End it; what was not sent is lost. Twice does no harm."""
        if self._closed:
            return
        self._closed = True
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._socket.close()
        for _, descriptor in self._queue:
            if descriptor is not None:
                os.close(descriptor)
        self._queue.clear()
        self.queued = 0

    # -- What the reactor calls

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "channel"

    def doRead(self) -> None:
        try:
            data, descriptors, flags, _ = socket.recv_fds(self._socket, READ_SIZE, MAX_DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            self._end()
            return
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        if flags & socket.MSG_CTRUNC:
            # This process has as many open files as it may have.
            descriptors.append(LOST)
        if data:
            self._receive(data, descriptors)
        else:
            self._end()

    def doWrite(self) -> None:
        while self._queue:
            data, descriptor = self._queue[0]
            try:
                sent = self._send(data, descriptor)
            except BlockingIOError:
                return
            except OSError as error:
                if descriptor is None or error.errno != errno.ETOOMANYREFS:
                    self._end()
                    return
                # Too many descriptors are on their way: that connection is given up, with its message.
                sent = len(data)
                self._given_up()
            self.queued -= sent
            if descriptor is not None:
                os.close(descriptor)
            if sent < len(data):
                self._queue[0] = data[sent:], None
            else:
                self._queue.popleft()
        self._reactor.removeWriter(self)

    def _send(self, data: memoryview, descriptor: int | None) -> int:
        if descriptor is None:
            return self._socket.send(data)
        return socket.send_fds(self._socket, [data], [descriptor])

    def connectionLost(self, reason: Failure) -> None:
        self._end()

    def _end(self) -> None:
        if not self._closed:
            self.close()
            self._lost()
