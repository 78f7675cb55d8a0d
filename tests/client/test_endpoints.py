"""Tests of torpydo.client.endpoints."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.client.doubles import StreamDouble
from torpydo.client.endpoints import CircuitEndpoint
from torpydo.errors import ConnectRefused


class Recorder(Protocol):
    """Records what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def connectionMade(self) -> None:
        self.told.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.told.append(data)

    def connectionLost(self, reason: Failure) -> None:
        self.told.append(reason.type)


@implementer(IHalfCloseableProtocol)
class HalfRecorder(Recorder):
    """Records half-closes too."""

    def readConnectionLost(self) -> None:
        self.told.append("read lost")

    def writeConnectionLost(self) -> None:
        self.told.append("write lost")


class CountingFactory(Factory[Recorder]):
    """Counts its connections."""

    protocol = Recorder
    noisy = False
    started = stopped = 0

    def startFactory(self) -> None:
        self.started += 1

    def stopFactory(self) -> None:
        self.stopped += 1


class EndpointTests(SynchronousTestCase):
    """The manners of an endpoint."""

    def setUp(self) -> None:
        self.factory = CountingFactory()
        self.opening: Deferred[IProtocol] = Deferred(lambda deferred: self.cancelled.append(deferred))
        self.cancelled: list[object] = []
        self.asked: list[tuple[str, int]] = []
        self.endpoint = CircuitEndpoint(self.open_stream, "example.org", 80)

    def open_stream(self, factory: IProtocolFactory, host: str, port: int) -> Deferred[IProtocol]:
        self.inner = factory
        self.asked.append((host, port))
        return self.opening

    def connect(self) -> tuple[Any, Any, StreamDouble]:
        """The application's protocol, the one the stream talks to, and the transport."""
        result = self.endpoint.connect(self.factory)
        protocol = self.inner.buildProtocol(None)
        assert protocol is not None
        transport = StreamDouble()
        protocol.makeConnection(transport)
        self.opening.callback(protocol)
        return self.successResultOf(result), protocol, transport

    def test_provides_its_interface(self) -> None:
        """Whoever takes an endpoint takes it."""
        verifyObject(IStreamClientEndpoint, self.endpoint)

    def test_gives_the_applications_own_protocol(self) -> None:
        """With the stream's transport, so that nothing stands between when it writes."""
        protocol, _, transport = self.connect()
        self.assertIsInstance(protocol, Recorder)
        self.assertIs(protocol.transport, transport)
        self.assertEqual(protocol.told, ["made"])

    def test_data_and_the_end_are_handed_on(self) -> None:
        """In order."""
        protocol, outer, _ = self.connect()
        outer.dataReceived(b"abc")
        outer.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(protocol.told, ["made", b"abc", ConnectionDone])

    def test_half_close_only_where_it_is_understood(self) -> None:
        """The stream asks whether the protocol can do it, and the answer is the application's."""
        _, outer, _ = self.connect()
        self.assertFalse(IHalfCloseableProtocol.providedBy(outer))
        self.opening = Deferred()
        self.factory.protocol = HalfRecorder
        protocol, outer, _ = self.connect()
        self.assertTrue(IHalfCloseableProtocol.providedBy(outer))
        outer.readConnectionLost()
        outer.writeConnectionLost()
        self.assertEqual(protocol.told, ["made", "read lost", "write lost"])

    def test_the_factory_is_started_and_stopped_once(self) -> None:
        """Stopped when the connection has ended, not before."""
        _, outer, _ = self.connect()
        self.assertEqual((self.factory.started, self.factory.stopped), (1, 0))
        outer.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((self.factory.started, self.factory.stopped), (1, 1))

    def test_the_factory_is_stopped_when_connecting_fails(self) -> None:
        """There was no connection to end."""
        result = self.endpoint.connect(self.factory)
        self.opening.errback(ConnectRefused("no"))
        self.failureResultOf(result, ConnectionRefusedError)
        self.assertEqual((self.factory.started, self.factory.stopped), (1, 1))

    def test_errors_are_of_both_families(self) -> None:
        """One of ours and a ``ConnectError``."""
        result = self.endpoint.connect(self.factory)
        self.opening.errback(ConnectRefused("hop 3 of 3: refused"))
        error = self.failureResultOf(result, ConnectError).value
        self.assertIsInstance(error, ConnectRefused)
        self.assertEqual(str(error), "hop 3 of 3: refused")

    def test_a_bug_stays_a_bug(self) -> None:
        """What is not ours is not dressed up."""
        result = self.endpoint.connect(self.factory)
        self.opening.errback(ZeroDivisionError())
        self.failureResultOf(result, ZeroDivisionError)
        self.assertEqual(self.factory.stopped, 1)

    def test_cancel(self) -> None:
        """What is under way is cancelled, and the error is the one that Twisted's endpoints give."""
        result = self.endpoint.connect(self.factory)
        result.cancel()
        self.failureResultOf(result, ConnectingCancelledError)
        self.assertEqual(self.cancelled, [self.opening])
        self.assertEqual(self.factory.stopped, 1)

    def test_a_factory_that_wants_no_protocol(self) -> None:
        """``None`` is handed on."""
        self.factory.protocol = lambda: None
        self.factory.buildProtocol = lambda addr: None
        self.endpoint.connect(self.factory).addErrback(lambda failure: failure.trap(CancelledError))
        self.assertIsNone(self.inner.buildProtocol(None))

    def test_names_are_not_resolved(self) -> None:
        """They go to the exit as they are."""
        self.endpoint.connect(self.factory)
        self.assertEqual(self.asked, [("example.org", 80)])
