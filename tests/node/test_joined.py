"""Many who wait for one thing, a name or a link, leave as fast as a few do (SECURITY D7)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.node.network import World
from torpydo.node.resolver import Resolver
from torpydo.testing import SimulatedReactor

MANY = 500


class LeavingTests(SynchronousTestCase):
    """Nobody is looked for among the others."""

    def leave(self, waiting: list[Deferred[Any]]) -> int:
        """Let all leave, those that came last first.

        :return: how often one was compared with another
        """
        compared = 0

        def compare(one: object, other: object) -> bool:
            nonlocal compared
            compared += 1
            return one is other

        patch = self.patch(Deferred, "__eq__", compare)
        for one in reversed(waiting):
            one.addErrback(lambda failure: None)
            one.cancel()
        patch.restore()
        return compared

    def test_a_name(self) -> None:
        """One that nobody answers for."""
        reactor = SimulatedReactor()
        reactor.names.silent.add("slow.example.")
        resolver = Resolver(reactor, randbelow=lambda below: 0)
        self.assertLess(self.leave([resolver.resolve("slow.example") for _ in range(MANY)]), MANY)

    def test_a_link(self) -> None:
        """One to a node that does not answer."""
        world = World()
        guard, silent = world.relay(), world.relay()
        world.reactor.internet.ways.isolate(silent.address.host)
        neighbours = guard.router._neighbours
        reached = [neighbours.reach(silent.hop.node_id, silent.hop.address, shared=True) for _ in range(MANY)]
        self.assertLess(self.leave(reached), MANY)
        self.assertEqual(neighbours._dialling, set())
