"""Tests of torpydo.cli.network: what needs no processes."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
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
