"""The DHT on the nodes of a network, and clients that use it through circuits."""

from __future__ import annotations

from tests.network.base import NetworkTestCase
from torpydo.apps.dht import ClientDHT
from torpydo.dht import Item
from torpydo.onion import Secret, SigningKey
from torpydo.testing.members import ClientMember, NodeMember

OWNER = SigningKey(Secret(b"o" * 32))


class DHTTests(NetworkTestCase):
    """Six nodes that take part."""

    def setUp(self) -> None:
        super().setUp()
        self.start(nodes=6, dht=True)
        # Until they have looked around.
        self.network.advance(10)

    def dht(self, member: ClientMember) -> ClientDHT:
        """A client's way to it."""
        assert member.client is not None
        return ClientDHT(member.reactor, member.client, rng=member.rng(), wall_clock=member.wall_clock)

    def item(self, sequence: int, value: bytes = b"value", salt: bytes = b"") -> Item:
        """One version of the owner's item."""
        expires = int(self.network.pool.wall_clock()) + 7200
        return Item.make(OWNER, OWNER.public, salt, sequence, expires, value)

    def kept(self, node: NodeMember) -> list[int]:
        """The sequences of what a node keeps."""
        assert node.dht is not None and node.dht._walks is not None
        return [item.sequence for item in node.dht._walks.participant.storage]

    def test_nodes_know_each_other(self) -> None:
        """Each has all others in its table."""
        for node in self.network.nodes:
            assert node.dht is not None
            status = node.dht.status()
            assert status is not None
            self.assertEqual((status.dht_nodes, status.dht_contacts), (6, 5), node.name)

    def test_put_and_get(self) -> None:
        """What one client puts another finds; all six keep it."""
        here = self.dht(self.network.clients[0])
        self.network.success(self.network.add_client())
        there = self.dht(self.network.clients[1])
        item = self.item(1)
        self.assertEqual(self.network.success(here.put(item)), 6)
        self.assertEqual(self.network.success(there.get(item.target)), item)
        self.assertEqual(self.network.success(there.get(item.target, newest=True)), item)

    def test_nothing(self) -> None:
        """What nobody has put is not found."""
        self.assertIsNone(self.network.success(self.dht(self.network.clients[0]).get(b"t" * 32)))
