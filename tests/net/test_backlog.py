"""Tests of torpydo.net.backlog."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import BACKLOG, lengthen_backlog
from torpydo.testing import SimulatedReactor

HERE = "20.1.1.1"


class BacklogTests(SynchronousTestCase):
    """Ports of a simulated host."""

    def setUp(self) -> None:
        self.reactor = SimulatedReactor().host(HERE)

    def listen(self, **options: int) -> Any:
        """A port whose backlog was looked at."""
        port = self.reactor.success(TCP4ServerEndpoint(self.reactor, 6000, interface=HERE, **options).listen(Factory()))
        lengthen_backlog(port)
        return port

    def test_not_chosen(self) -> None:
        """Many may wait."""
        self.assertEqual(self.listen().socket._backlog, BACKLOG)

    def test_chosen(self) -> None:
        """What an operator writes into the endpoint counts."""
        self.assertEqual(self.listen(backlog=7).socket._backlog, 7)
