"""Tests of torpydo.directory.vanguards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, document, fields, forge, network, node_id, randbelow
from torpydo.crypto import NodeId, document_hash
from torpydo.directory import NetDir, VanguardSet
from torpydo.errors import StateError

DAY = 86_400
HOUR = 3600


class Client:
    """A set of vanguards with its clock, its randomness, its guards and the nodes that are listed."""

    def __init__(self, nodes: Iterable[object], guards: Iterable[object] = (), seed: int = 1) -> None:
        self.now: float = NOW
        self.randbelow = randbelow(seed)
        self.guards = [node_id(name) for name in guards]
        self.kept = VanguardSet()
        self.list(nodes)

    def list(self, nodes: Iterable[object]) -> None:
        """From now on the pool lists *nodes*."""
        self.netdir: NetDir = network([document(name) for name in nodes])

    def order(self) -> tuple[list[NodeId], list[NodeId]]:
        return self.kept.order(self.netdir, self.guards, self.now, self.randbelow)

    def used(self) -> set[NodeId]:
        """The vanguards that circuits are built with now."""
        return set(self.order()[0])

    def add(self, name: object) -> None:
        self.kept.add(node_id(name), self.now, self.randbelow)

    def restart(self) -> None:
        self.kept = VanguardSet.decode(self.kept.encode())


def lives(client: Client) -> list[float]:
    """For how many days from now each vanguard stays."""
    stored: Any = fields(bytes(32) + client.kept.encode())
    return [(until - client.now) / DAY for _, until, _ in stored[1]]


class LifeTests(SynchronousTestCase):
    def test_distribution(self) -> None:
        """A life is the longer of two that are even over 1 to 12 days: (x - 1)² / 121 of them are shorter than x."""
        drawn: list[float] = []
        netdir = network([document(name) for name in range(4)])
        for seed in range(500):
            client = Client([], seed=seed)
            client.netdir = netdir
            client.order()
            drawn += lives(client)
        drawn.sort()
        self.assertEqual(len(drawn), 2000)
        self.assertTrue(1 <= drawn[0] and drawn[-1] <= 12)
        farthest = max(abs(((life - 1) / 11) ** 2 - place / 2000) for place, life in enumerate(drawn))
        # Kolmogorov's test: p < 0.001 from 1.95 / sqrt(n) on.
        self.assertLess(farthest, 1.95 / 2000**0.5)

    def test_rotation(self) -> None:
        """Each stays to the hour that was drawn for it, and a draw follows then; over months it is most of them."""
        client = Client(range(40))
        met: set[NodeId] = set()
        drawn = 0
        for _ in range(120 * 24):
            before = dict(zip(client.kept.in_use, lives(client), strict=True))
            used = client.used()
            after = dict(zip(client.kept.in_use, lives(client), strict=True))
            stay = {node: left for node, left in before.items() if left > 0}
            self.assertEqual(stay, {node: left for node, left in after.items() if before.get(node) == left})
            self.assertEqual((len(used), used), (4, set(after)))
            drawn += 4 - len(stay)
            met |= used
            client.now += HOUR
        # Four lives at a time with a mean of 8⅓ days.
        self.assertTrue(44 < drawn < 78, drawn)
        self.assertGreater(len(met), 25)

    def test_clock_set_back(self) -> None:
        """A clock that was years ahead gives no vanguard a life of years; nor do any go when it is set right."""
        client = Client(range(40))
        client.now += 1000 * DAY
        used = client.used()
        client.now = NOW
        self.assertEqual(client.used(), used)
        self.assertEqual(max(lives(client)), 12)
        client.now += 12 * DAY
        self.assertEqual(client.used() & used, set())

    def test_clock_before_1970(self) -> None:
        """A clock that is wholly wrong costs nothing but the lives."""
        client = Client(range(40))
        client.now = -1000.0 * DAY
        client.order()
        client.restart()
        self.assertEqual(len(client.used()), 4)


class ChoiceTests(SynchronousTestCase):
    def test_four_of_many(self) -> None:
        """Four are used, they stay the same, and their order is another one each time."""
        client = Client(range(40))
        orders = {tuple(client.order()[0]) for _ in range(400)}
        self.assertEqual({frozenset(order) for order in orders}, {frozenset(client.kept.in_use)})
        self.assertEqual(len(orders), 24)
        self.assertEqual(client.order()[1], [])

    def test_clients_differ(self) -> None:
        """Different clients have different vanguards."""
        self.assertGreater(len({node for seed in range(10) for node in Client(range(40), seed=seed).used()}), 20)

    def test_by_weight(self) -> None:
        """Nodes with a larger weight are chosen more often."""
        docs = [document(name, bandwidth=4_000_000 if name < 20 else 1_000_000) for name in range(40)]
        netdir = network(docs)
        large = {node_id(name) for name in range(20)}
        found = 0
        for seed in range(100):
            client = Client([], seed=seed)
            client.netdir = netdir
            found += len(client.used() & large)
        self.assertGreater(found, 220)

    def test_never_a_guard(self) -> None:
        """The nodes that circuits begin with are not chosen, even if fewer are left."""
        client = Client(range(5), guards=(0, 1, 2))
        self.assertEqual(client.used(), {node_id(3), node_id(4)})
        client.list(range(6))
        self.assertEqual(client.used(), {node_id(3), node_id(4), node_id(5)})
        self.assertEqual(Client(range(3), guards=(0, 1, 2)).used(), set())

    def test_families(self) -> None:
        """None is of the guard's family, and no two are of one: whoever is related to one leaves three others."""
        near = [document(name, family=range(10)) for name in range(10)]
        far = [document(name, family=range(10, 20)) for name in range(10, 20)]
        client = Client([], guards=(0,))
        client.netdir = network([*near, *far, document(20), document(21)])
        used = client.used()
        self.assertEqual(len(used), 3)
        self.assertLess({node_id(20), node_id(21)}, used)
        self.assertEqual(len(used & {node_id(name) for name in range(10, 20)}), 1)

    def test_networks(self) -> None:
        """None is in the guard's subnet, and no two are in one."""
        crowd = [document(f"crowd{number}") for number in range(10)]  # all of them in one subnet
        client = Client([], guards=("crowd0",))
        client.netdir = network([*crowd, *(document(name) for name in range(1, 4))])
        self.assertEqual(client.used(), {node_id(1), node_id(2), node_id(3)})
        client = Client([], guards=(1,))
        client.netdir = network([*crowd, *(document(name) for name in range(1, 4))])
        self.assertEqual(len(client.used()), 3)
        self.assertEqual(len(client.used() - {node_id(2), node_id(3)}), 1)

    def test_forged_nodes(self) -> None:
        """A node whose descriptor is forged is never chosen."""
        client = Client([])
        client.netdir = network([document(1), forge(document(2)), forge(document(3)), document(4)])
        self.assertEqual(client.used(), {node_id(1), node_id(4)})

    def test_spares(self) -> None:
        """Others can be added up to eight; they come after the four, in their order, and move up."""
        client = Client(range(40))
        client.order()
        four = client.kept.in_use
        others = [name for name in range(40) if node_id(name) not in four][:5]
        for name in others[:1] + others:
            client.add(name)
        self.assertTrue(client.kept.is_full)
        spares = [node_id(name) for name in others[:4]]
        self.assertEqual(client.order()[1], spares)
        client.list(name for name in range(40) if name != others[1])
        self.assertEqual(client.order()[1], [spares[0], *spares[2:]])
        client.list(range(40))
        client.now += min(lives(client)[:4]) * DAY
        client.order()
        self.assertEqual(len(set(client.kept.in_use) - set(four)), 1)
        self.assertIn(client.kept.in_use[3], spares)


class ListingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Client(range(40))
        self.four = self.client.used()
        left = dict(zip(lives(self.client), self.client.kept.in_use, strict=True))
        assert min(left) > 1.1  # so that what goes in these tests goes because it is not listed
        self.gone = left[max(left)]
        self.others = [name for name in range(40) if node_id(name) != self.gone]

    def test_unlisted(self) -> None:
        """One that is not listed is not used and keeps its place for a day; then another one comes."""
        self.client.list(self.others)
        for _ in range(2):
            self.assertEqual(self.client.used(), self.four - {self.gone})
            self.client.now += DAY / 2
        self.assertEqual(self.client.used(), self.four - {self.gone})
        self.client.now += 1
        self.assertEqual(len(self.client.used()), 4)
        self.assertNotIn(self.gone, self.client.kept.in_use)

    def test_back_in_time(self) -> None:
        """One that is listed again within the day is used as before."""
        self.client.list(self.others)
        self.client.order()
        self.client.now += DAY
        self.client.list(range(40))
        self.assertEqual(self.client.used(), self.four)
        self.client.now += HOUR
        self.assertEqual(self.client.used(), self.four)

    def test_empty_listing(self) -> None:
        """It says nothing about any vanguard."""
        self.client.list([])
        self.client.kept.changed = False
        self.client.order()
        self.client.list(range(40))
        self.assertEqual(self.client.used(), self.four)
        self.assertFalse(self.client.kept.changed)


class StateTests(SynchronousTestCase):
    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes are refused with a StateError, even with a hash that fits."""
        self.assertRaises(StateError, VanguardSet.decode, data)
        self.assertRaises(StateError, VanguardSet.decode, document_hash(data) + data)

    @given(
        st.lists(st.integers(0, 30), unique=True, max_size=8),
        st.floats(0, 2**42),
        st.randoms(use_true_random=False),
    )
    def test_round_trip(self, names: list[int], now: float, random: Any) -> None:
        """Whoever is in the set is in it after a restart, in the same order and for as long."""
        kept = VanguardSet()
        for name in names:
            kept.add(node_id(name), now, random.randrange)
        again = VanguardSet.decode(kept.encode())
        self.assertEqual(again.encode(), kept.encode())
        self.assertEqual(again.in_use, tuple(node_id(name) for name in names[:4]))
        self.assertFalse(again.changed)

    def test_every_prefix_and_flipped_byte(self) -> None:
        """A torn or damaged file is refused."""
        client = Client(range(5))
        client.order()
        data = client.kept.encode()
        for place in range(len(data)):
            self.assertRaises(StateError, VanguardSet.decode, data[:place])
            bad = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            self.assertRaises(StateError, VanguardSet.decode, bad)

    def test_bad_content(self) -> None:
        """A key that is none, a node twice, nine nodes, and nesting without end, are refused."""
        client = Client([1])
        client.order()
        body = client.kept.encode()[32:]
        raw = client.kept.in_use[0].raw
        one = body[3:]
        rows = [one.replace(raw, node_id(name).raw) for name in range(9)]
        good = b"\x92\x01\x98" + b"".join(rows[:8])
        self.assertTrue(VanguardSet.decode(document_hash(good) + good).is_full)
        for bad in (
            body.replace(raw, bytes(32)),
            b"\x92\x01\x92" + one * 2,
            b"\x92\x01\x99" + b"".join(rows),
            b"\x91" * 10_000,
            b"\x92\x01\xdd\xff\xff\xff\xff",
        ):
            self.assertRaises(StateError, VanguardSet.decode, document_hash(bad) + bad)

    def test_changed(self) -> None:
        """The set says when there is something to save."""
        client = Client(range(10))
        self.assertFalse(client.kept.changed)
        client.order()
        self.assertTrue(client.kept.changed)
        client.kept.changed = False
        client.order()
        self.assertFalse(client.kept.changed)
        client.add(0)
        client.add(9)
        self.assertTrue(client.kept.changed)

    def test_restart(self) -> None:
        """The set and the ends of its lives survive twenty restarts."""
        client = Client(range(40))
        used, ends = client.used(), lives(client)
        for _ in range(20):
            client.restart()
            self.assertEqual((client.used(), lives(client)), (used, ends))
