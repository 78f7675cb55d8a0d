"""Tests of torpydo.net.participants: who takes part, as the listings say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, document, listing, network, node_id, url
from torpydo.dht import WIDTH, distance, place_of
from torpydo.directory import TEST_NETWORK, NetDir, Services
from torpydo.net import Participants
from torpydo.tpdp import Address

BOTH = Services.ONION | Services.DHT
FIRST = b"1" * 24
SECOND = b"2" * 24


def listed(*names: int, services: Services = BOTH, test_network: bool = False, **overrides: object) -> NetDir:
    """A network of nodes that offer *services*."""
    documents = [document(name, services=services, **overrides) for name in names]
    return network(documents, parameters={TEST_NETWORK: test_network})


TWENTY_FIVE = listed(*range(1, 26))


class ParticipantsTests(SynchronousTestCase):
    """Contacts from listings."""

    def test_those_that_offer_it(self) -> None:
        """A node that says nothing, or something else, is none."""
        netdir = network(
            [
                document(1, services=Services.DHT),
                document(2),
                document(3, services=Services.ONION),
                document(4, services=BOTH),
                document(5, services=Services(0x80 | Services.DHT)),
            ]
        )
        participants = Participants()
        participants.network_changed(netdir)
        self.assertEqual(len(participants), 3)
        for name, takes_part in ((1, True), (2, False), (3, False), (4, True), (5, True)):
            contact = participants.contact(node_id(name).raw)
            self.assertEqual(contact is not None, takes_part, name)
        contact = participants.contact(node_id(1).raw)
        assert contact is not None
        self.assertEqual((contact.node_id, contact.place), (node_id(1).raw, place_of(node_id(1).raw)))

    def test_nobody(self) -> None:
        """Before there is a listing."""
        participants = Participants()
        self.assertEqual((len(participants), participants.closest(b"t" * 32)), (0, []))
        self.assertIsNone(participants.contact(node_id(1).raw))

    def test_oneself(self) -> None:
        """A node counts itself among the participants, and is no contact of its own."""
        participants = Participants(node_id(1).raw)
        participants.network_changed(listed(1, 2, 3))
        self.assertEqual(len(participants), 3)
        self.assertIsNone(participants.contact(node_id(1).raw))
        found = {contact.node_id for contact in participants.closest(place_of(node_id(1).raw))}
        self.assertEqual(found, {node_id(2).raw, node_id(3).raw})

    @given(st.binary(min_size=32, max_size=32), st.integers(1, 30))
    def test_the_closest(self, target: bytes, count: int) -> None:
        """Those with the least distance, in that order."""
        netdir = TWENTY_FIVE
        participants = Participants()
        participants.network_changed(netdir)
        found = [contact.node_id for contact in participants.closest(target, count)]
        everybody = sorted(netdir.nodes.listed, key=lambda raw: distance(place_of(raw), target))
        self.assertEqual(found, everybody[:count])
        self.assertEqual(len(participants.closest(target)), WIDTH)

    def test_who_is_new(self) -> None:
        """It tells of those who were not there before, and of nobody else; who has gone is gone."""
        participants = Participants()
        self.assertFalse(participants.network_changed(listed()))
        self.assertTrue(participants.network_changed(listed(1, 2)))
        self.assertFalse(participants.network_changed(listed(1, 2)))
        self.assertFalse(participants.network_changed(listed(1)))
        self.assertIsNone(participants.contact(node_id(2).raw))
        self.assertTrue(participants.network_changed(listed(1, 2)))
        self.assertTrue(participants.network_changed(listed(3)))
        self.assertEqual(len(participants), 1)

    def test_one_that_begins_to_take_part(self) -> None:
        """It was listed before, and offered nothing."""
        participants = Participants()
        self.assertFalse(participants.network_changed(listed(1, services=Services.ONION)))
        self.assertTrue(participants.network_changed(listed(1)))
        participants.network_changed(listed(1, services=Services.ONION))
        self.assertEqual(len(participants), 0)


class NetworkTests(SynchronousTestCase):
    """What counts as one operator's addresses (SECURITY K3)."""

    def network_of(self, host: str, *, test_network: bool = False) -> bytes:
        participants = Participants()
        netdir = listed(1, address=Address.parse(host, 6000), test_network=test_network)
        participants.network_changed(netdir)
        contact = participants.contact(node_id(1).raw)
        assert contact is not None
        return contact.network

    def test_ipv4(self) -> None:
        """A /24."""
        self.assertEqual(self.network_of("20.1.2.3"), self.network_of("20.1.2.254"))
        self.assertNotEqual(self.network_of("20.1.2.3"), self.network_of("20.1.3.3"))
        self.assertTrue(self.network_of("20.1.2.3"))

    def test_ipv6(self) -> None:
        """A /48."""
        self.assertEqual(self.network_of("2a00:1:2:3::1"), self.network_of("2a00:1:2:ffff::9"))
        self.assertNotEqual(self.network_of("2a00:1:2::1"), self.network_of("2a00:1:3::1"))

    def test_the_kinds_differ(self) -> None:
        """No IPv4 network is an IPv6 one."""
        self.assertNotEqual(self.network_of("42.0.0.1"), self.network_of("2a00::1"))

    def test_a_test_network(self) -> None:
        """There all nodes have one address, which means nothing."""
        self.assertEqual(self.network_of("127.0.0.1", test_network=True), b"")

    def test_an_address_that_changes(self) -> None:
        """A node that has moved to another network belongs to that one."""
        participants = Participants()
        networks = set()
        for host in ("20.1.2.3", "20.9.9.9"):
            participants.network_changed(listed(1, address=Address.parse(host, 6000)))
            contact = participants.contact(node_id(1).raw)
            assert contact is not None
            networks.add(contact.network)
        self.assertEqual(len(networks), 2)


class StampTests(SynchronousTestCase):
    """Where those who take part stand (SECURITY K1)."""

    def setUp(self) -> None:
        self.participants = Participants()

    def place(self) -> bytes | None:
        """Where node 1 stands, as far as it takes part."""
        contact = self.participants.contact(node_id(1).raw)
        return None if contact is None else contact.place

    def test_stamps(self) -> None:
        """A node stands where its stamp leads, and moves with it; that is news, and nothing else of it is."""
        self.assertTrue(self.participants.network_changed(listed(1, stamp=FIRST)))
        before = self.participants.contact(node_id(1).raw)
        self.assertEqual(self.place(), place_of(node_id(1).raw, FIRST))
        self.assertFalse(self.participants.network_changed(listed(1, stamp=FIRST, nickname="other")))
        self.assertIs(self.participants.contact(node_id(1).raw), before)
        self.assertTrue(self.participants.network_changed(listed(1, stamp=SECOND)))
        self.assertEqual(self.place(), place_of(node_id(1).raw, SECOND))
        self.assertTrue(self.participants.network_changed(listed(1)))
        self.assertEqual(self.place(), place_of(node_id(1).raw))

    def test_disputed(self) -> None:
        """While too few pools agree on the stamp nobody knows where the node stands, and it is left out."""
        urls = [url(pool) for pool in "ab"]
        one = document(1, services=BOTH, stamp=FIRST)
        other = document(1, services=BOTH, stamp=SECOND, sequence=NOW * 1000 + 1)
        listings = {urls[0]: listing("a", [one]), urls[1]: listing("b", [other])}
        self.participants.network_changed(NetDir.merge(listings, urls, None, NOW))
        self.assertIsNone(self.place())
        listings[urls[0]] = listing("a", [other])
        self.assertTrue(self.participants.network_changed(NetDir.merge(listings, urls, None, NOW)))
        self.assertEqual(self.place(), place_of(node_id(1).raw, SECOND))
