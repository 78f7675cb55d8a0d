"""Tests of torpydo.node.port: what stands on a node's port (SECURITY D5)."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import BACKLOG
from torpydo.node.port import PAUSE, NodePort
from torpydo.testing import SimulatedReactor

HERE = "20.1.1.1"


class Inside(Factory):
    """What is behind the port.

    :ivar asked: how often somebody wanted to connect
    """

    noisy = False

    def __init__(self) -> None:
        self.asked = 0
        self.admits = True

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        self.asked += 1
        return Protocol() if self.admits else None


class Caller(Protocol):
    """Connects."""

    ended = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = True


class PortTests(SynchronousTestCase):
    """A port on a simulated host."""

    def setUp(self) -> None:
        self.world = SimulatedReactor()
        self.reactor = self.world.host(HERE)
        self.inside = Inside()
        self.door = NodePort(self.reactor)

    def listen(self, outermost: Any = None, **options: int) -> Any:
        """Begin."""
        endpoint = TCP4ServerEndpoint(self.reactor, 6000, interface=HERE, **options)
        port = self.reactor.success(endpoint.listen(outermost or self.door))
        self.door.listening(port)
        self.door.inside = self.inside
        return port

    def connect(self, count: int = 1) -> list[Caller]:
        """Somebody connects."""
        endpoint = TCP4ClientEndpoint(self.world, HERE, 6000)
        callers = [self.world.success(connectProtocol(endpoint, Caller())) for _ in range(count)]
        self.world.flush()
        return callers

    def test_admitted(self) -> None:
        """What is behind it takes the connection."""
        self.listen()
        self.assertFalse(self.connect()[0].ended)

    def test_refused(self) -> None:
        """The connection is closed at once; also before there is anything behind it."""
        self.listen()
        self.inside.admits = False
        self.assertTrue(self.connect()[0].ended)
        self.door.inside = None
        self.assertTrue(self.connect()[0].ended)
        self.assertEqual(self.inside.asked, 1)

    def test_refused_behind_something_else(self) -> None:
        """TLS and its like take a protocol only, and one that ends the connection is as good."""
        self.listen(WrappingFactory(self.door))
        self.inside.admits = False
        self.assertTrue(self.connect()[0].ended)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_pause(self) -> None:
        """When nothing can be kept connections wait in the system, a tenth of a second each time."""
        self.listen()
        self.inside.admits = False
        self.connect()
        self.door.pause()
        self.door.pause()
        callers = self.connect(20)
        self.assertEqual((self.inside.asked, [one.ended for one in callers]), (1, [False] * 20))
        self.world.advance(PAUSE / 2)
        self.assertEqual(self.inside.asked, 1)
        self.inside.admits = True
        self.world.advance(PAUSE)
        self.assertEqual((self.inside.asked, [one.ended for one in callers]), (21, [False] * 20))

    def test_closed_in_a_pause(self) -> None:
        """Nothing is left to do then."""
        port = self.listen()
        self.door.pause()
        self.door.close()
        self.reactor.success(port.stopListening())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_pause_without_a_port(self) -> None:
        """One that is no TCP port cannot make one."""
        self.door.pause()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_backlog(self) -> None:
        """Many may wait in the system until they are taken."""
        self.assertEqual(self.listen().socket._backlog, BACKLOG)
