"""Tests of torpydo.cli.network: what needs no processes."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.network import LIST_TIME, ProcessNetwork
from torpydo.cli.processes import ChildProcess
from torpydo.errors import TorpydoError


class SpeakingNode:
    """A process of which only the words are known."""

    words = ""

    def has_said(self, words: str) -> bool:
        """Whether it has."""
        return words in self.words


class UntilKnownTests(SynchronousTestCase):
    """Waiting until nodes know each other."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.nodes = [SpeakingNode(), SpeakingNode()]
        network = ProcessNetwork(self.clock, FilePath(self.mktemp()), lambda most: 0, self.clock.seconds)
        nodes = [cast(ChildProcess, node) for node in self.nodes]
        self.waiting = Deferred.fromCoroutine(network.until_known(nodes))

    def test_each_must_know_all(self) -> None:
        """A node that knows itself alone, or twelve of some other network, does not."""
        self.nodes[0].words = "[net] 1 nodes are known, digest a\n[net] 2 nodes are known, digest b\n"
        self.nodes[1].words = "[net] 12 nodes are known, digest c\n[net] 1 nodes are known, digest a\n"
        self.clock.pump([1.0] * 3)
        self.assertNoResult(self.waiting)
        self.nodes[1].words += "[net] 2 nodes are known, digest b\n"
        self.clock.pump([1.0] * 2)
        self.assertIsNone(self.successResultOf(self.waiting))

    def test_they_never_do(self) -> None:
        """It is said what did not happen."""
        self.clock.pump([1.0] * int(LIST_TIME + 2))
        error = self.failureResultOf(self.waiting, TorpydoError).value
        self.assertIn("the nodes do not know each other", str(error))


class UntilStatusTests(SynchronousTestCase):
    """Waiting until a process says of itself what it should."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        directory = FilePath("net")
        network = ProcessNetwork(self.reactor, directory, lambda most: 0, self.reactor.seconds)
        waiting = network.until_status("client", lambda status: bool(status.get("ready")), 5.0, "it is not ready")
        self.waiting = Deferred.fromCoroutine(waiting)

    def answer(self, line: bytes) -> None:
        """Whoever has the socket says it, and the network looks again."""
        path, factory, *_ = self.reactor.unixClients.pop()
        self.assertIn("net/client/", path)
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(StringTransport())
        protocol.dataReceived(line)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.reactor.advance(0.2)

    def test_it_does(self) -> None:
        """After it had said something else, and nothing of that is left."""
        self.answer(b'{"ready": false, "starting": true}\n')
        self.assertNoResult(self.waiting)
        self.answer(b'{"ready": true}\n')
        self.assertEqual(self.successResultOf(self.waiting), {"ready": True})

    def test_it_does_not_in_time(self) -> None:
        """It does not matter whether it says the wrong thing or is not there yet."""
        self.reactor.advance(3.0)
        self.answer(b"")
        self.reactor.advance(3.0)
        self.answer(b'{"ready": false}\n')
        error = self.failureResultOf(self.waiting, TorpydoError).value
        self.assertIn("it is not ready", str(error))
