"""Tests of torpydo.node.extending: which EXTENDs are obeyed, and what a client hears of the others."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import node_id
from tests.node.network import PORT, Relay, Traveller, World
from torpydo.net import FileBudget
from torpydo.node.limits import DEFAULT_LIMITS
from torpydo.node.neighbours import Neighbour
from torpydo.testing import Conditions
from torpydo.tpdp import Address, ExtendRefused, ExtendStatus, Hop, HopAdded


class Case(SynchronousTestCase):
    """A guard that is asked to extend."""

    def setUp(self) -> None:
        self.world = World()
        self.guard = self.world.relay()
        self.target = self.world.relay()
        self.world.publish()

    def extend(self, *path: Relay, **changes: Any) -> Traveller:
        """A circuit through *path*; *changes* are to what the client says of its last hop."""
        traveller = self.world.traveller(*path)
        hops = list(traveller.path)
        hops[-1] = attrs.evolve(hops[-1], **changes)
        traveller.path = hops
        traveller.__attrs_post_init__()
        return traveller.build()

    def status(self, traveller: Traveller) -> ExtendStatus:
        """Why the last hop was refused."""
        [refused] = traveller.of_kind(ExtendRefused)
        return ExtendStatus(refused.status)

    def links(self) -> list[int]:
        """Open links at each node."""
        return [one.router.status().links for one in self.world.relays]


class RefusedTests(Case):
    """SECURITY L7."""

    def test_itself(self) -> None:
        """A node does not extend to itself."""
        self.assertEqual(self.status(self.extend(self.guard, self.guard)), ExtendStatus.REFUSED)

    def test_its_own_address_under_another_name(self) -> None:
        """Nor to the address that it listens on."""
        traveller = self.extend(self.guard, self.target, node_id=node_id("nobody"), address=self.guard.address)
        self.assertEqual(self.status(traveller), ExtendStatus.REFUSED)

    def test_the_node_before(self) -> None:
        """Nor back to where the circuit comes from."""
        traveller = self.extend(self.guard, self.target, self.guard)
        self.assertEqual(self.status(traveller), ExtendStatus.REFUSED)
        self.assertEqual(traveller.of_kind(HopAdded), [HopAdded(1), HopAdded(2)])

    def test_an_unlisted_private_address(self) -> None:
        """Nor into anybody's private network."""
        traveller = self.extend(
            self.guard, self.target, node_id=node_id("nobody"), address=Address(bytes([10, 0, 0, 1]), PORT)
        )
        self.assertEqual(self.status(traveller), ExtendStatus.REFUSED)

    def test_a_private_address_in_a_test_network(self) -> None:
        """There everything is private: it is tried."""
        self.world.publish(test_network=True)
        traveller = self.extend(
            self.guard, self.target, node_id=node_id("nobody"), address=Address(bytes([10, 0, 0, 1]), PORT)
        )
        self.assertEqual(self.status(traveller), ExtendStatus.UNREACHABLE)

    def test_before_any_listing(self) -> None:
        """A node that knows nothing yet refuses private addresses as well."""
        self.guard = self.world.relay()
        traveller = self.extend(self.guard, self.target, address=Address(bytes([127, 0, 0, 1]), PORT))
        self.assertEqual(self.status(traveller), ExtendStatus.REFUSED)

    def test_a_refusal_leaves_the_circuit(self) -> None:
        """Nothing was opened, and the client decides what becomes of it."""
        traveller = self.extend(self.guard, self.guard)
        self.assertFalse(traveller.destroyed)
        self.assertEqual(self.links(), [1, 0])


class AddressTests(Case):
    """Where the link goes (SECURITY L6, DESIGN 4.6)."""

    def test_the_listing_knows_better(self) -> None:
        """The address that the client names for a listed node does not count."""
        traveller = self.extend(self.guard, self.target, address=Address(bytes([20, 99, 1, 1]), 1))
        self.assertEqual(len(traveller.of_kind(HopAdded)), 2)

    def test_an_unlisted_node_gets_a_link_of_its_own(self) -> None:
        """Which no other circuit uses, and which ends with its circuit."""
        self.guard.knows(self.world.listing([self.guard]))
        first = self.extend(self.guard, self.target)
        self.extend(self.guard, self.target)
        self.assertEqual(self.links(), [2 + 2, 2])
        first.destroy()
        self.assertEqual(self.links(), [2 + 1, 1])

    def test_a_link_that_was_unlisted_is_not_shared_later(self) -> None:
        """The listing came in the meantime: a new link is opened all the same."""
        self.guard.knows(self.world.listing([self.guard]))
        self.extend(self.guard, self.target)
        self.world.publish()
        self.extend(self.guard, self.target)
        self.assertEqual(self.links(), [2 + 2, 2])

    def test_another_identity_at_the_right_address(self) -> None:
        """It is sent no CREATE: without the right identity there is no link."""
        other = self.world.relay()
        traveller = self.extend(self.guard, self.target, node_id=node_id("nobody"), address=other.address)
        self.world.reactor.advance(DEFAULT_LIMITS.extend_answer + 1)
        self.assertIn(self.status(traveller), (ExtendStatus.UNREACHABLE, ExtendStatus.TIMEOUT))
        self.assertEqual(other.router.status().circuits, 0)

    def test_two_circuits_wait_for_one_link(self) -> None:
        """Both get it."""
        first = self.world.traveller(self.guard).build()
        self.world.reactor.internet.ways.set(Conditions(latency=0.05), target=self.target.address.host)
        pair = [self.world.traveller(self.guard, self.target, host=f"198.51.100.{number}") for number in (2, 3)]
        for traveller in pair:
            traveller.build()
        self.assertEqual([len(one.of_kind(HopAdded)) for one in pair], [1, 1])
        self.world.reactor.advance(1)
        self.assertEqual([len(one.of_kind(HopAdded)) for one in pair], [2, 2])
        self.assertEqual(self.links(), [3 + 1, 1])
        self.assertFalse(first.destroyed)


class FailureTests(Case):
    """The next hop does not answer as it should."""

    def test_nobody_listens(self) -> None:
        """The client hears it at once."""
        nowhere = Address(b"\x14\x09\x01\x01", 9)
        traveller = self.extend(self.guard, self.target, node_id=node_id("nobody"), address=nowhere)
        self.assertEqual(self.status(traveller), ExtendStatus.UNREACHABLE)

    def test_silence(self) -> None:
        """What listens and says nothing costs ten seconds, and no connection after that."""
        host = self.world.reactor.host("20.77.1.1")
        host.listenTCP(PORT, ServerFactory.forProtocol(Protocol), interface="20.77.1.1")
        traveller = self.extend(
            self.guard, self.target, node_id=node_id("nobody"), address=Address(b"\x14\x4d\x01\x01", PORT)
        )
        self.world.reactor.advance(DEFAULT_LIMITS.extend_answer - 1)
        self.assertEqual(traveller.of_kind(ExtendRefused), [])
        self.world.reactor.advance(2)
        self.assertIn(self.status(traveller), (ExtendStatus.UNREACHABLE, ExtendStatus.TIMEOUT))
        self.assertEqual(self.world.reactor.internet.connections_of("20.77.1.1"), [])

    def test_no_answer_to_create(self) -> None:
        """The link is there, CREATED does not come: ten seconds, then the circuit may try another hop."""
        self.extend(self.guard, self.target)
        self.world.reactor.internet.ways.cut(self.target.address.host, self.guard.address.host)
        traveller = self.extend(self.guard, self.target)
        self.world.reactor.advance(DEFAULT_LIMITS.extend_answer + 1)
        self.assertEqual(self.status(traveller), ExtendStatus.TIMEOUT)
        self.assertFalse(traveller.destroyed)

    def test_destroy_instead_of_created(self) -> None:
        """A hop that refuses the CREATE: its onion key is another one."""
        traveller = self.extend(self.guard, self.target, onion_key=self.guard.onion_key.public)
        self.assertEqual(self.status(traveller), ExtendStatus.DESTROYED)
        self.assertEqual(self.target.router.status().circuits, 0)

    def test_the_link_dies_first(self) -> None:
        """The next hop is killed before it answers: the circuit may try another hop."""
        self.extend(self.guard, self.target)
        self.world.reactor.internet.ways.set(Conditions(latency=0.5), target=self.target.address.host)
        traveller = self.extend(self.guard, self.target)
        self.target.reactor.kill()
        self.world.reactor.advance(2)
        self.assertEqual(self.status(traveller), ExtendStatus.DESTROYED)
        self.assertFalse(traveller.destroyed)

    def test_destroyed_while_it_is_extended(self) -> None:
        """The client leaves: the attempt is given up, and nothing stays."""
        self.world.reactor.internet.ways.set(Conditions(latency=1.0), target=self.target.address.host)
        traveller = self.extend(self.guard, self.target)
        traveller.destroy()
        self.assertEqual(self.guard.router.status().circuits, 0)
        self.world.reactor.advance(20)
        self.assertEqual((self.guard.router.status().circuits, self.target.router.status().circuits), (0, 0))
        self.assertEqual(self.links(), [1, 0])


class ShareTests(Case):
    """What one who asks for links to nowhere leaves for others (SECURITY D4)."""

    def setUp(self) -> None:
        super().setUp()
        silent = self.world.reactor.host("20.77.1.1")
        silent.listenTCP(PORT, ServerFactory.forProtocol(Protocol), interface="20.77.1.1")
        self.used = 0

    def swallow(self, *path: Relay, count: int, host: str = "198.51.100.1") -> int:
        """Extend so many circuits of one host to where nobody answers; gives how many are refused at once."""
        nowhere = Hop(node_id("nobody"), self.target.onion_key.public, Address(b"\x14\x4d\x01\x01", PORT))
        asked = []
        for _ in range(count):
            traveller = self.world.traveller(*path, host=host)
            traveller.path = [*traveller.path, nowhere]
            traveller.__attrs_post_init__()
            asked.append(traveller.build())
        refused = [self.status(one) for one in asked if one.of_kind(ExtendRefused)]
        self.assertEqual(refused, [ExtendStatus.RESOURCE_LIMIT] * len(refused))
        return len(refused)

    def test_one_address(self) -> None:
        """It has its share of those that are being opened, and another one has its own."""
        most = DEFAULT_LIMITS.dials_per_host
        self.assertEqual(self.swallow(self.guard, count=most + 3), 3)
        self.assertEqual(self.swallow(self.guard, count=most + 1, host="198.51.100.2"), 1)
        self.world.reactor.advance(DEFAULT_LIMITS.link_connect + 1)
        self.assertEqual(self.swallow(self.guard, count=1), 0)

    def test_behind_a_node(self) -> None:
        """Many clients come from there, and nobody knows how many."""
        self.assertEqual(self.swallow(self.target, self.guard, count=DEFAULT_LIMITS.dials_per_host + 3), 0)

    def test_half_is_for_nodes(self) -> None:
        """Whoever asks for the others, and wherever he comes from."""
        self.guard.restrict(dials=8)
        self.assertEqual(self.swallow(self.guard, count=3), 0)
        third = self.world.relay()
        self.world.publish()
        self.assertEqual(self.swallow(third, self.guard, count=3), 2)
        self.assertEqual(len(self.extend(self.guard, self.target).of_kind(HopAdded)), 2)

    def limit_files(self) -> Relay:
        """A guard that may have 128 file descriptors; gives a node that it does not know."""
        self.guard = self.world.relay(files=FileBudget(self.world.reactor.seconds, 128, lambda: self.used))
        self.guard.knows(self.world.listing([self.guard, self.target]))
        return self.world.relay()

    def test_descriptors(self) -> None:
        """An eighth of them is for links to where no node is known."""
        unlisted = self.limit_files()
        built = [self.extend(self.guard, unlisted) for _ in range(17)]
        self.assertEqual([len(one.of_kind(HopAdded)) for one in built], [2] * 16 + [1])
        self.assertEqual(self.status(built[16]), ExtendStatus.RESOURCE_LIMIT)
        self.assertEqual(len(self.extend(self.guard, self.target).of_kind(HopAdded)), 2)
        built[0].destroy()
        self.world.reactor.advance(1.0)
        self.assertEqual(len(self.extend(self.guard, unlisted).of_kind(HopAdded)), 2)

    def test_few_descriptors(self) -> None:
        """When links have to be closed, none of these is opened."""
        self.used = 88
        unlisted = self.limit_files()
        self.assertEqual(self.status(self.extend(self.guard, unlisted)), ExtendStatus.RESOURCE_LIMIT)
        self.assertEqual(len(self.extend(self.guard, self.target).of_kind(HopAdded)), 2)


class NeighboursTests(Case):
    """Several who wait for one link."""

    def test_one_that_waits_cancels_another(self) -> None:
        """In the moment in which both would be told, whichever way the dial ends."""
        for live in (True, False):
            if not live:
                self.target = self.world.relay()
                self.target.reactor.kill()
            neighbours, hop = self.guard.router._neighbours, self.target.hop
            first = neighbours.reach(hop.node_id, hop.address, shared=True)
            second = neighbours.reach(hop.node_id, hop.address, shared=True)
            self.cancel_after(first, second)
            self.world.reactor.advance(DEFAULT_LIMITS.link_connect + 1)
            self.failureResultOf(second, CancelledError)
            self.assertEqual(neighbours._dialling, set())

    def cancel_after(self, first: Deferred[Neighbour], second: Deferred[Neighbour]) -> None:
        first.addBoth(lambda ignored: second.cancel())


class AgeTests(Case):
    """A link that is a day old takes no new circuits (DESIGN 4.3)."""

    def test_a_new_link(self) -> None:
        """The next EXTEND opens one; the old one ends when its last circuit does."""
        self.extend(self.guard, self.target)
        self.world.reactor.advance(DEFAULT_LIMITS.link_age + 1)
        self.world.publish()
        self.extend(self.guard, self.target)
        self.assertEqual(self.links(), [2 + 2, 2])
