"""Networks whose pool asks for work, from the beginning or later (SECURITY K1). A try is a hash here."""

from __future__ import annotations

import os
import shutil
import tempfile

from tests.network.base import NetworkTestCase
from torpydo.apps.dht import ClientDHT
from torpydo.crypto import STAMP_SIZE, claimed_bits, stamp_holds
from torpydo.dht import Item, place_of
from torpydo.net import StateDirectory
from torpydo.node import NodeReport
from torpydo.node.stamping import FILE
from torpydo.onion import Secret, SigningKey
from torpydo.testing import LocalNetwork
from torpydo.testing.members import NodeMember, cheap_work

BITS = 6
OWNER = SigningKey(Secret(b"o" * 32))


def report(node: NodeMember) -> NodeReport:
    """What it tells its operator."""
    assert node.service is not None
    made = node.service.report()
    assert made is not None
    return made


class StampTests(NetworkTestCase):
    """Nodes that take part in the DHT."""

    def setUp(self) -> None:
        super().setUp()
        self.scratch = os.path.realpath(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, self.scratch)

    def stamp(self, node: NodeMember) -> bytes:
        """The stamp of a node, as its descriptor says."""
        assert node.service is not None and node.service._parts is not None
        made = node.service._parts._description.descriptor
        assert made is not None
        return made.stamp

    def check_places(self) -> None:
        """Everybody stands where the stamps say, in its own eyes and in those of all others."""
        places = {node.node_id.raw: place_of(node.node_id.raw, self.stamp(node)) for node in self.network.nodes}
        for node in self.network.nodes:
            assert node.dht is not None and node.dht._walks is not None
            contacts = node.dht._walks.participant.contacts
            self.assertEqual(contacts.place, places[node.node_id.raw], node.name)
            known = {contact.node_id: contact.place for contact in contacts}
            self.assertEqual(known, {one: place for one, place in places.items() if one != node.node_id.raw}, node.name)

    def check_stamps(self) -> None:
        """Each has a stamp of its own, which holds."""
        for node in self.network.nodes:
            self.assertGreaterEqual(claimed_bits(self.stamp(node)), BITS)
            self.assertTrue(stamp_holds(node.node_id.raw, self.stamp(node), cheap_work))
            self.assertFalse(report(node).stamp.working)

    def test_from_the_beginning(self) -> None:
        """Nodes hear what is asked for, work, and are listed; their places follow from their work."""
        self.start(client=False, nodes=4, dht=True, stamp_bits=BITS)
        self.network.advance(90)
        self.assertEqual(len(self.network.listed()), 4)
        self.check_stamps()
        self.check_places()
        pool = self.network.pool.service
        assert pool is not None
        status = pool.status()
        assert status is not None
        self.assertGreater(status.refused["stamp"], 0)

    def test_later(self) -> None:
        """A pool that asks for work one day loses no node, and the DHT no item."""
        network = self.network = LocalNetwork(nodes=6, dht=True)
        self.addCleanup(self.finish, network)
        network.pool.state_dir = os.path.join(self.scratch, "pool")
        network.nodes[0].state_dir = os.path.join(self.scratch, "node")
        network.start()
        network.advance(70)
        self.assertEqual([self.stamp(node) for node in network.nodes], [b""] * 6)
        member = network.clients[0]
        assert member.client is not None
        dht = ClientDHT(member.reactor, member.client, rng=member.rng(), wall_clock=member.wall_clock)
        item = Item.make(OWNER, OWNER.public, b"", 1, int(network.pool.wall_clock()) + 7200, b"value")
        self.assertEqual(network.success(dht.put(item)), 6)

        network.success(network.pool.stop())
        network.pool.kill()
        network.pool.stamp_bits = BITS
        network.pool.start()
        for _ in range(12):
            network.advance(10)
            self.assertEqual(len(network.listed()), 6)
        self.check_stamps()
        network.advance(60)
        self.check_places()
        self.assertEqual(network.success(dht.get(item.target)), item)
        for node in network.nodes:
            assert node.dht is not None and node.dht._walks is not None
            self.assertEqual(list(node.dht._walks.participant.storage), [item])

        # It is kept, so that a restart costs no work.
        before = self.stamp(network.nodes[0])
        network.success(network.nodes[0].stop())
        network.nodes[0].kill()
        state = StateDirectory.look(os.path.join(self.scratch, "node"))
        kept = state.read(FILE)
        state.close()
        assert kept is not None
        self.assertEqual(kept[-STAMP_SIZE:], before)
        network.nodes[0].start()
        network.advance(1)
        self.assertEqual(self.stamp(network.nodes[0]), before)
        network.advance(90)
        self.check_places()
