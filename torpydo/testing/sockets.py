"""Simulated kernel sockets, the part that all sockets share: a number, an owner, and being polled.

Only the kernel is simulated: Twisted's own TCP transports run on top of these sockets, so that producers, half-close,
aborting and the order of notifications are those of ``twisted.internet.tcp`` itself.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IFileDescriptor, IHalfCloseableDescriptor, IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure

from torpydo.testing.clock import VirtualClock, run_guarded

Endpoint = tuple[str, int]
"""An IP literal and a port."""
SocketName = tuple[str, int] | tuple[str, int, int, int]
"""The same as a socket tells it: IPv6 has two fields more."""


class Host(Protocol):
    """A simulated process, as its sockets see it.

    :ivar frozen: whether it has been stopped for a while: its sockets go on without it
    """

    frozen: bool

    @property
    def addresses(self) -> Sequence[str]:
        """Its IP literals."""

    def removeReader(self, reader: IFileDescriptor) -> None:
        """Stop reading."""


class Registry(Protocol):
    """What every socket asks of the internet."""

    clock: VirtualClock

    def register(self, sock: Socket) -> int:
        """Give a new socket its number."""

    def unregister(self, sock: Socket) -> None:
        """A socket was closed."""


def kernel_error(code: int) -> OSError:
    """The error that a kernel would report."""
    return OSError(code, os.strerror(code))


class Socket:
    """What both kinds of socket share: a number, and being polled.

    :ivar reader: the transport that wants to read
    :ivar writer: the transport that wants to write
    """

    def __init__(self, registry: Registry, host: Host, family: int) -> None:
        self._registry = registry
        self.host = host
        self.family = family
        self.local: Endpoint | None = None
        self.reader: IReadDescriptor | None = None
        self.writer: IWriteDescriptor | None = None
        self._fd = registry.register(self)

    def readable(self) -> bool:
        """Whether reading would not block."""
        raise NotImplementedError

    def writable(self) -> bool:
        """Whether writing would not block."""
        return False

    def close(self) -> None:
        """Close."""
        raise NotImplementedError

    def kill(self, silently: bool) -> None:
        """Close as the kernel does when the process has died: nobody in it is told. *silently*: nor is the peer."""
        self.reader = self.writer = None
        if silently:
            self.fail(errno.EIO)
        self.close()

    def fail(self, code: int) -> None:
        """There is nothing to break."""

    def poll(self) -> None:
        """Let the transports read and write once, as one iteration of a real reactor would."""
        if self.host.frozen:
            return
        reader = self.reader
        if reader is not None and self.readable():
            self._act(reader, reader.doRead, True)
        writer = self.writer
        if writer is not None and self.writable():
            self._act(writer, writer.doWrite, False)
        self.mark()

    def mark(self) -> None:
        """Be polled in the next turn if there is anything to do."""
        if (self.reader is not None and self.readable()) or (self.writer is not None and self.writable()):
            self._registry.clock.mark(self)

    def _act(self, selectable: IReadDescriptor | IWriteDescriptor, act: Callable[[], object], reading: bool) -> None:
        why = run_guarded(act)
        if not isinstance(why, BaseException):
            return
        self.host.removeReader(selectable)
        if reading and isinstance(why, ConnectionDone) and IHalfCloseableDescriptor.providedBy(selectable):
            selectable.readConnectionLost(Failure(why))
        else:
            selectable.connectionLost(Failure(why))

    # The parts of a socket that Twisted calls and that need no simulation

    def fileno(self) -> int:
        """The number under which the internet knows it; no real file has it."""
        return self._fd

    def setblocking(self, flag: bool) -> None:
        """Nothing here ever blocks."""

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """Most options mean nothing here."""

    def getsockname(self) -> SocketName:
        """The own address."""
        return self._name(self.local)

    def _name(self, endpoint: Endpoint | None) -> SocketName:
        if endpoint is None:
            raise kernel_error(errno.ENOTCONN)
        return (*endpoint, 0, 0) if self.family == socket.AF_INET6 else endpoint

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._fd} at {self.local}>"
