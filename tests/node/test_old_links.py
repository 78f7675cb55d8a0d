"""A link that is a day old takes no new circuits: its keys were agreed upon too long ago (SECURITY L4)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.node.network import Traveller, World
from torpydo.net import LinkProtocol


class OldLinkTests(SynchronousTestCase):
    """A client that goes on asking on a link that it has had for long."""

    def setUp(self) -> None:
        self.world = World()
        self.guard = self.world.relay()
        self.world.publish()
        self.first = self.world.traveller(self.guard).build()

    def another(self) -> Traveller:
        """One more circuit on the first one's link, which tells each of them what comes for it."""
        assert self.first.link is not None
        link: LinkProtocol = self.first.link
        traveller = self.world.traveller(self.guard)
        link._owner = traveller
        return traveller.build(link)

    def test_a_minute_longer_than_a_day(self) -> None:
        """For as long as a CREATE may have been under way it is answered, then destroyed; what is there lives on."""
        [neighbour] = self.guard.router._neighbours
        # As if it had been opened a day ago; a day of a simulated node takes seconds.
        neighbour.link.core.opened_at -= 24 * 3600.0
        self.world.reactor.advance(59.0)
        self.assertEqual(self.another().circuit.hops, 1)
        self.world.reactor.advance(2.0)
        late = self.another()
        self.assertEqual((late.destroyed, late.circuit.hops, late.lost), (True, 0, False))
        self.assertEqual(self.guard.router.status().circuits, 2)
        assert self.first.link is not None
        self.first.link._owner = self.first
        self.first.circuit.end.ping(self.world.reactor.seconds())
        self.first.send()
        self.assertIsNotNone(self.first.events[-1].rtt)
