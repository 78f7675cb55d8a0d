"""Where the streams go, a process of its own: ``python -m tests.soak.destination PORT``.

A connection begins with one line that says what it wants:

====================  ==================================================================================================
``GET SEED SIZE``     so many bytes of the truth, then the end
``CUT SEED SIZE``     so many bytes, then a reset: a torn connection must not look like an end
``PUT SEED SIZE``     takes so many bytes and answers ``OK SIZE``, or ``WRONG OFFSET`` if one of them was wrong
``ECHO``              what is sent comes back; the end comes back, too
====================  ==================================================================================================

What was wrong is also said on standard output, for whoever sent it may never read the answer.
"""

from __future__ import annotations

import sys

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IPullProducer, IReactorTCP
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import react
from zope.interface import implementer

from tests.soak.truth import Check, Truth

CHUNK = 64 * 1024
LINE_LIMIT = 100


@implementer(IPullProducer)
class Sender:
    """Sends bytes of the truth as fast as they are taken."""

    def __init__(self, protocol: Served, seed: int, size: int, *, cut: bool) -> None:
        self._protocol = protocol
        self._truth = Truth(seed)
        self._size = size
        self._cut = cut
        self._offset = 0

    def resumeProducing(self) -> None:
        transport = self._protocol.transport
        data = self._truth.read(self._offset, min(CHUNK, self._size - self._offset))
        self._offset += len(data)
        if data:
            transport.write(data)
            return
        transport.unregisterProducer()
        # A reset drops what is still under way, so fewer bytes may arrive.
        if self._cut:
            transport.abortConnection()
        else:
            transport.loseConnection()

    def stopProducing(self) -> None:
        self._offset = self._size


@implementer(IHalfCloseableProtocol)
class Served(Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._line = b""
        self._check: Check | None = None
        self._wanted = ""

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        if self._wanted:
            self._received(data)
            return
        self._line += data
        line, end, rest = self._line.partition(b"\n")
        if end:
            self._line = b""
            self._begin(line.decode("ascii"))
            if rest:
                self._received(rest)
        elif len(self._line) > LINE_LIMIT:
            self._complain(f"no command: {self._line[:LINE_LIMIT]!r}")
            self.transport.abortConnection()

    def _begin(self, line: str) -> None:
        self._wanted, *numbers = line.split()
        if self._wanted == "ECHO":
            # If what comes back is not read, nothing more is read here.
            self.transport.registerProducer(self.transport, True)
            return
        seed, size = map(int, numbers)
        if self._wanted == "PUT":
            self._check = Check(seed, size)
        else:
            self.transport.registerProducer(Sender(self, seed, size, cut=self._wanted == "CUT"), False)

    def _received(self, data: bytes) -> None:
        if self._wanted == "ECHO":
            self.transport.write(data)
        elif self._check is None:
            self._complain(f"{len(data)} bytes that nobody sent, after {self._wanted}")
        elif not self._check.add(data):
            self._complain(f"an upload was wrong at byte {self._check.wrong_at}")
            self.transport.write(b"WRONG %d\n" % self._check.wrong_at)
            self.transport.loseConnection()
        elif self._check.complete:
            self.transport.write(b"OK %d\n" % self._check.offset)
            self.transport.loseConnection()

    @staticmethod
    def _complain(what: str) -> None:
        print(f"WRONG: {what}", flush=True)

    def readConnectionLost(self) -> None:
        if self._wanted == "ECHO":
            self.transport.unregisterProducer()
            self.transport.loseConnection()
        elif self._wanted not in ("GET", "CUT"):
            # An upload that ends too soon: whoever sends it knows, or hears of it now.
            self.transport.abortConnection()

    def writeConnectionLost(self) -> None:
        """Our own end has gone out."""


class Serving(Factory):
    """Makes them."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Served:
        return Served()


def _serve(reactor: IReactorTCP, port: str) -> Deferred[None]:
    endpoint = TCP4ServerEndpoint(reactor, int(port), backlog=1024, interface="127.0.0.1")
    listening: Deferred[object] = endpoint.listen(Serving())
    return listening.addCallback(lambda _: Deferred())


if __name__ == "__main__":
    react(_serve, sys.argv[1:])
