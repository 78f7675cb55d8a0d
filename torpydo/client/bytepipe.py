"""A stream that is read and written by Deferreds: bytes wait here until somebody asks for them.

Both directions are bounded: reading pauses the stream while nobody takes the bytes, and a write is not done before
the stream takes more. Called by the step-by-step calls.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from torpydo.errors import StreamFailed, StreamReset, TorpydoError

HIGH = 64 * 1024
"""Bytes that wait for a reader before the stream is paused."""
LOW = 32 * 1024


@attrs.define(eq=False)
class _Read:
    """Somebody who waits for bytes."""

    count: int
    exactly: bool
    deferred: Deferred[bytes]


@implementer(IHalfCloseableProtocol, IPushProducer)
class BytePipe(Protocol):
    """The application's end of one stream."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._reads: deque[_Read] = deque()
        self._writes: list[Deferred[None]] = []
        self._reading_paused = False
        self._writing_paused = False
        self._ended: Failure | None = None
        self._eof = False
        self._gone: list[Deferred[None]] = []

    @property
    def _wire(self) -> Any:
        return self.transport

    def connectionMade(self) -> None:
        """Ask to be told when the stream takes no more."""
        self._wire.registerProducer(self, True)

    # -- What the user calls

    def send(self, data: bytes) -> Deferred[None]:
        """Write *data*; fires when the stream takes more."""
        if self._ended is not None:
            return fail(self._why("the stream is closed"))
        self._wire.write(data)
        if not self._writing_paused:
            return succeed(None)
        waiter: Deferred[None] = Deferred(lambda cancelled: self._writes.remove(waiter))
        self._writes.append(waiter)
        return waiter

    def receive(self, count: int) -> Deferred[bytes]:
        """1 to *count* bytes; none at the end of the stream."""
        return self._read(count, exactly=False)

    def receive_exactly(self, count: int) -> Deferred[bytes]:
        """*count* bytes; fails if the stream ends before."""
        return self._read(count, exactly=True)

    def close(self) -> Deferred[None]:
        """Send what was written and end the stream; fires when it is gone."""
        if self._ended is not None:
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        self._wire.unregisterProducer()
        if self._reading_paused:
            # A paused stream would never tell that it has ended.
            self._reading_paused = False
            self._wire.resumeProducing()
        self._wire.loseConnection()
        return gone

    def _read(self, count: int, *, exactly: bool) -> Deferred[bytes]:
        if count < 1:
            return fail(ValueError("at least one byte must be asked for"))
        read = _Read(count, exactly, Deferred(lambda cancelled: self._reads.remove(read)))
        self._reads.append(read)
        self._serve()
        return read.deferred

    # -- Bytes meet readers

    def _serve(self) -> None:
        while self._reads:
            read = self._reads[0]
            if len(self._buffer) >= (read.count if read.exactly else 1):
                self._reads.popleft()
                data = bytes(self._buffer[: read.count])
                del self._buffer[: read.count]
                read.deferred.callback(data)
            elif self._eof:
                self._reads.popleft()
                self._end(read)
            else:
                break
        wanted = self._reads[0].count if self._reads else 0
        if self._ended is None and self._reading_paused and len(self._buffer) < max(LOW, wanted):
            self._reading_paused = False
            self._wire.resumeProducing()

    def _end(self, read: _Read) -> None:
        clean = self._ended is None or self._ended.check(ConnectionDone)
        if not clean:
            read.deferred.errback(self._why("the stream was torn"))
        elif read.exactly:
            got = len(self._buffer)
            read.deferred.errback(StreamFailed(f"the destination sent {got} of {read.count} bytes and closed"))
        else:
            read.deferred.callback(b"")

    def _why(self, text: str) -> TorpydoError:
        if self._ended is not None and isinstance(self._ended.value, TorpydoError):
            return self._ended.value
        return StreamReset(text)

    # -- twisted.internet.interfaces.IProtocol, IHalfCloseableProtocol

    def dataReceived(self, data: bytes) -> None:
        """Keep the bytes for a reader."""
        if self._gone:
            return  # closed: nobody will ask for them
        self._buffer += data
        self._serve()
        wanted = self._reads[0].count if self._reads else 0
        if self._ended is None and not self._reading_paused and len(self._buffer) >= max(HIGH, wanted):
            self._reading_paused = True
            self._wire.pauseProducing()

    def readConnectionLost(self) -> None:
        """The destination sends no more; writing still works."""
        self._eof = True
        self._serve()

    def writeConnectionLost(self) -> None:
        """The destination reads no more."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell everybody who waits."""
        self._ended = reason
        self._eof = True
        self._serve()
        writes, self._writes = self._writes, []
        for waiter in writes:
            waiter.errback(self._why("the stream was closed before everything was sent"))
        gone, self._gone = self._gone, []
        for waiter in gone:
            waiter.callback(None)

    # -- twisted.internet.interfaces.IPushProducer: what the stream says about our writes

    def pauseProducing(self) -> None:
        """The stream takes no more for now."""
        self._writing_paused = True

    def resumeProducing(self) -> None:
        """The stream takes more."""
        self._writing_paused = False
        writes, self._writes = self._writes, []
        for waiter in writes:
            waiter.callback(None)

    def stopProducing(self) -> None:
        """The stream is gone; ``connectionLost`` tells why."""
