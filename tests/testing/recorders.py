"""Protocols and producers that write down what happens to them, and a connected pair of them."""

from __future__ import annotations

from typing import cast

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from torpydo.testing import SimulatedReactor


class Recorder(Protocol):
    """Collects data and the reasons of its end."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.pieces: list[int] = []
        self.lost: list[type[BaseException]] = []

    @property
    def tcp(self) -> ITCPTransport:
        """The transport, as what it is here."""
        return cast(ITCPTransport, self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.pieces.append(len(data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason.type)


@implementer(IHalfCloseableProtocol)
class HalfRecorder(Recorder):
    """Also learns about each direction's end."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[str] = []

    def readConnectionLost(self) -> None:
        self.ends.append("read")

    def writeConnectionLost(self) -> None:
        self.ends.append("write")


@implementer(IPushProducer)
class PushRecorder:
    """A push producer that writes down what its consumer asks for."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


@implementer(IPullProducer)
class PullRecorder:
    """A pull producer that writes one piece whenever it is asked."""

    def __init__(self, transport: ITCPTransport, pieces: int) -> None:
        self.transport = transport
        self.pieces = pieces
        self.asked = 0

    def resumeProducing(self) -> None:
        self.asked += 1
        self.transport.write(b"p" * 1000)
        if self.asked == self.pieces:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        self.pieces = 0


class Servers(Factory):
    """Builds recorders and keeps them."""

    noisy = False

    def __init__(self, protocol: type[Recorder] = Recorder) -> None:
        self.kind = protocol
        self.built: list[Recorder] = []

    def buildProtocol(self, addr: object) -> Recorder:
        built = self.kind()
        built.factory = self
        self.built.append(built)
        return built


def pair(
    client_reactor: SimulatedReactor,
    server_reactor: SimulatedReactor,
    kind: type[Recorder] = Recorder,
    ip: str | None = None,
) -> tuple[Recorder, Recorder]:
    """A client and a server that are connected."""
    servers = Servers(kind)
    target = ip or server_reactor.addresses[0]
    port = server_reactor.success(TCP4ServerEndpoint(server_reactor, 0, interface=target).listen(servers))
    endpoint = TCP4ClientEndpoint(client_reactor, target, port.getHost().port)
    client = client_reactor.success(connectProtocol(endpoint, kind()))
    client_reactor.flush()
    return client, servers.built[0]
