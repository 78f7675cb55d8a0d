"""Tests of torpydo.pool.listener."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from torpydo.errors import ListenError
from torpydo.net import BACKLOG
from torpydo.pool.listener import Listener
from torpydo.testing import SimulatedReactor


class Port:
    """A port that says when it was closed."""

    closed = False

    def stopListening(self) -> None:
        self.closed = True


@implementer(IStreamServerEndpoint)
class Endpoint:
    """An endpoint that answers what a test wants."""

    def __init__(self, *results: Deferred[IListeningPort]) -> None:
        self.results = list(results)

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        return self.results.pop(0)


def busy() -> CannotListenError:
    """What Twisted says of a port that is in use."""
    return CannotListenError("127.0.0.1", 80, OSError(98, "Address already in use"))


class ListenerTests(SynchronousTestCase):
    """Listening at once, later, or never."""

    def listener(self, *results: Deferred[IListeningPort]) -> Listener:
        return Listener(Endpoint(*results), "tcp:80", Factory())

    def test_at_once(self) -> None:
        """A port that opens at once is there for whoever asks, before or after."""
        port = Port()
        listener = self.listener(succeed(port))
        early = listener.when_listening()
        self.assertNoResult(early)
        listener.start()
        self.assertTrue(listener.is_started)
        self.assertIs(self.successResultOf(early), port)
        self.assertIs(self.successResultOf(listener.when_listening()), port)

    def test_backlog(self) -> None:
        """Many may wait in the system until they are taken."""
        reactor = SimulatedReactor().host("20.1.1.1")
        listener = Listener(TCP4ServerEndpoint(reactor, 80, interface="20.1.1.1"), "tcp:80", Factory())
        listener.start()
        port: Any = self.successResultOf(listener.when_listening())
        self.assertEqual(port.socket._backlog, BACKLOG)
        reactor.success(listener.stop())

    def test_later(self) -> None:
        """A port that opens later is waited for."""
        opening: Deferred[IListeningPort] = Deferred()
        listener = self.listener(opening)
        listener.start()
        waiting = listener.when_listening()
        self.assertNoResult(waiting)
        opening.callback(Port())
        self.successResultOf(waiting)

    def test_busy(self) -> None:
        """A busy port is an error at once, with the address, the reason and what to do."""
        listener = self.listener(fail(busy()))
        error = self.assertRaises(ListenError, listener.start)
        for words in ("tcp:80", "Address already in use", "choose another"):
            self.assertIn(words, str(error))
        self.assertFalse(listener.is_started)
        self.failureResultOf(listener.when_listening(), ListenError)

    def test_busy_later(self) -> None:
        """A port that turns out to be busy fails for whoever waits."""
        opening: Deferred[IListeningPort] = Deferred()
        listener = self.listener(opening)
        listener.start()
        waiting = listener.when_listening()
        opening.errback(busy())
        self.failureResultOf(waiting, ListenError)

    def test_stop(self) -> None:
        """Stopping closes the port; a later start opens another."""
        ports = Port(), Port()
        listener = self.listener(succeed(ports[0]), succeed(ports[1]))
        listener.start()
        self.successResultOf(listener.stop())
        self.assertTrue(ports[0].closed)
        listener.start()
        self.assertIs(self.successResultOf(listener.when_listening()), ports[1])

    def test_stop_while_opening(self) -> None:
        """Stopping while the port opens cancels that, and whoever waits."""
        cancelled: list[object] = []
        listener = self.listener(Deferred(cancelled.append))
        listener.start()
        waiting = listener.when_listening()
        self.successResultOf(listener.stop())
        self.assertEqual(len(cancelled), 1)
        self.failureResultOf(waiting, CancelledError)

    def test_stop_without_start(self) -> None:
        """Stopping what was not started does nothing."""
        self.successResultOf(self.listener().stop())
