"""Tests of torpydo.node.relief: which links are closed when file descriptors run out (SECURITY D4)."""

from __future__ import annotations

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.trial.unittest import SynchronousTestCase

from tests.node.network import Relay, Traveller, World
from torpydo.errors import LinkError
from torpydo.net import FileBudget, connect_link
from torpydo.net.files import PRESSED, RESERVE
from torpydo.node.relief import JUST_OPENED
from torpydo.tpdp import ExtendRefused, ExtendStatus, HopAdded

MOST = 128
HIGHEST = int((MOST - RESERVE) * PRESSED)


class ReliefTests(SynchronousTestCase):
    """A node that may have 128 file descriptors; each of its connections is one, and the rest is up to the test."""

    def setUp(self) -> None:
        self.world = World()
        self.others = 0
        self.node = self.world.relay(files=FileBudget(self.world.reactor.seconds, MOST, self.count))
        self.peer = self.world.relay()
        self.world.publish()

    def count(self) -> int:
        """How many are open."""
        node = self.node.address.host
        return self.others + len(self.world.reactor.internet.connections_of(node))

    def links(self, host: str, count: int, *, used: bool = False, of: Relay | None = None) -> list[Traveller]:
        """So many links of one host, with a circuit or without."""
        travellers = []
        for _ in range(count):
            traveller = self.world.traveller(self.node, host=host, identity=None if of is None else of.key)
            if used:
                traveller.build()
                self.assertEqual(traveller.of_kind(HopAdded), [HopAdded(1)])
            else:
                address = self.node.address
                endpoint = TCP4ClientEndpoint(traveller.reactor, address.host, address.port)
                random = self.world.random.randbytes
                identity = None if of is None else of.key
                linking = connect_link(
                    traveller.reactor, endpoint, self.node.key.node_id, traveller, identity=identity, rng=random
                )
                traveller.link = traveller.reactor.success(linking)
            travellers.append(traveller)
            # So that each is newer than the one before.
            self.world.reactor.advance(0.01)
        return travellers

    def press(self, excess: int) -> None:
        """So many must go."""
        self.others += HIGHEST + excess - self.count()
        self.world.reactor.advance(1.0)

    def lost(self, travellers: list[Traveller]) -> list[bool]:
        """Which of them were closed."""
        return [traveller.lost for traveller in travellers]

    def test_enough(self) -> None:
        """Nothing is closed as long as there are some."""
        links = self.links("198.51.100.1", 3)
        self.world.reactor.advance(JUST_OPENED)
        self.press(0)
        self.assertEqual(self.lost(links), [False] * 3)

    def test_idle_ones_first(self) -> None:
        """Those that are unused for the longest time, whoever has them, and no more than are needed."""
        used = self.links("198.51.100.1", 3, used=True)
        second = self.links("198.51.100.3", 2, used=True)
        first = self.links("198.51.100.2", 2)
        self.world.reactor.advance(1.0)
        for traveller in second:
            traveller.destroy()
        self.world.reactor.advance(JUST_OPENED)
        self.press(3)
        self.assertEqual((self.lost(used), self.lost(first)), ([False] * 3, [True] * 2))
        self.assertEqual(self.lost(second).count(True), 1)
        self.assertEqual(self.node.refused(), {"links_for_files": 3})

    def test_what_was_opened_just_now(self) -> None:
        """It is not idle: its circuit is under way."""
        self.world.reactor.advance(1.0)
        used = self.links("198.51.100.1", 2, used=True)
        new = self.links("198.51.100.2", 1)
        self.press(1)
        self.assertEqual((self.lost(used), self.lost(new)), ([False, True], [False]))

    def test_the_newest_of_the_address_with_the_most(self) -> None:
        """Until others have as many; the links of nodes stay, however many they are."""
        nodes = self.links("198.51.100.9", 8, used=True, of=self.peer)
        many = self.links("198.51.100.1", 6, used=True)
        few = self.links("198.51.100.2", 3, used=True)
        self.press(3)
        self.assertEqual(self.lost(many), [False] * 3 + [True] * 3)
        self.assertEqual((self.lost(few), self.lost(nodes)), ([False] * 3, [False] * 8))

    def test_links_to_nowhere(self) -> None:
        """Those that clients let the node open to where no node is known go before those of the clients."""
        beyond = self.world.relay()
        few = self.links("198.51.100.2", 2, used=True)
        known = self.world.traveller(self.node, self.peer, host="198.51.100.4").build()
        through = [self.world.traveller(self.node, beyond, host="198.51.100.3").build() for _ in range(4)]
        self.assertEqual([len(one.of_kind(HopAdded)) for one in (*through, known)], [2] * 5)
        self.press(3)
        self.assertEqual(self.lost([*few, *through, known]), [False] * 7)
        self.assertEqual((beyond.router.status().links, self.peer.router.status().links), (1, 1))

    def test_anybody(self) -> None:
        """If all have the same number, chance decides, so that nobody can do what saves him."""
        seen = set()
        for seed in range(8):
            self.world = World(seed)
            self.others = 0
            self.node = self.world.relay(files=FileBudget(self.world.reactor.seconds, MOST, self.count))
            links = [self.links(f"198.51.100.{number}", 1, used=True)[0] for number in range(1, 5)]
            self.press(1)
            self.assertEqual(self.lost(links).count(True), 1)
            seen.add(self.lost(links).index(True))
        self.assertGreater(len(seen), 1)

    def test_nobody_is_left(self) -> None:
        """More than there are cannot be closed, and nothing breaks."""
        links = self.links("198.51.100.1", 2, used=True)
        self.press(50)
        self.assertEqual(self.lost(links), [True] * 2)
        self.world.reactor.advance(3.0)

    def test_a_dial(self) -> None:
        """Without one the node opens no link for a circuit, and says so."""
        (before,) = self.links("198.51.100.1", 1)
        files = self.node.bounds.files
        files.most = files.used + RESERVE
        traveller = self.world.traveller(self.node, self.peer)
        assert before.link is not None
        before.link._owner = traveller
        traveller.build(before.link)
        (refused,) = traveller.of_kind(ExtendRefused)
        self.assertEqual(refused.status, ExtendStatus.RESOURCE_LIMIT)
        self.assertEqual(self.node.refused(), {"extend_resource_limit": 1})

    def test_the_pause(self) -> None:
        """With none left it listens again as soon as there are some (section 3 case 28)."""
        self.others = MOST
        self.world.reactor.advance(1.0)
        traveller = self.world.traveller(self.node)
        self.assertRaises(LinkError, traveller.build)
        self.assertEqual(self.node.refused(), {"files": 1})
        self.others = 0
        self.world.reactor.advance(1.0)
        self.assertEqual(self.world.traveller(self.node).build().of_kind(HopAdded), [HopAdded(1)])
