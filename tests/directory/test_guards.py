"""Tests of torpydo.directory.guards."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, document, fields, forge, network, node_id, randbelow
from torpydo.crypto import NodeId, document_hash
from torpydo.directory import GuardBias, GuardSample, NetDir
from torpydo.errors import PathError, StateError, TooFewNodes

DAY = 86_400
HOUR = 3600


class Client:
    """A guard sample with its clock, its randomness and the nodes that answer it."""

    def __init__(self, nodes: Iterable[object], seed: int = 1) -> None:
        self.now: float = NOW
        self.randbelow = randbelow(seed)
        self.sample = GuardSample()
        self.dead: set[NodeId] = set()
        self.list(nodes)

    def list(self, nodes: Iterable[object]) -> None:
        """From now on the pool lists *nodes*."""
        self.netdir: NetDir = network([document(name) for name in nodes])

    def choose(self) -> NodeId:
        return self.sample.choose(self.netdir, self.now, self.randbelow)

    def order(self) -> tuple[NodeId, ...]:
        return self.sample.order(self.netdir, self.now, self.randbelow)

    def enter(self) -> NodeId | None:
        """Try to build one circuit: the guard that answered."""
        try:
            guard = self.choose()
        except PathError:
            return None
        if guard in self.dead:
            self.sample.failed(guard, self.now)
            return None
        self.sample.confirmed(guard, self.now)
        return guard

    def enter_for(self, seconds: float, every: float = 10) -> list[NodeId | None]:
        """Try every few seconds for a while."""
        entered = []
        end = self.now + seconds
        while self.now < end:
            entered.append(self.enter())
            self.now += every
        return entered

    def restart(self) -> None:
        self.sample = GuardSample.decode(self.sample.encode())


class StickinessTests(SynchronousTestCase):
    def test_same_guard_after_restarts(self) -> None:
        """A client that is started twenty times keeps its guard."""
        client = Client(range(20))
        guard = client.enter()
        for _ in range(20):
            client.restart()
            client.now += HOUR
            self.assertEqual(client.enter(), guard)

    def test_clients_differ(self) -> None:
        """Different clients have different guards."""
        self.assertGreater(len({Client(range(20), seed).choose() for seed in range(10)}), 3)

    def test_back_to_the_first(self) -> None:
        """When the guard is away for half an hour, another is used, and then the first again."""
        client = Client(range(20))
        first = client.choose()
        client.enter()
        client.dead = {first}
        meanwhile = set(client.enter_for(1800)) - {None}
        self.assertEqual(len(meanwhile), 1)
        client.dead = set()
        self.assertEqual(client.enter_for(700)[-1], first)

    def test_order(self) -> None:
        """The order holds up to three guards, the preferred one first; a guard that waits is not in it."""
        client = Client(range(100))
        order = client.order()
        self.assertEqual((len(order), order[0]), (3, client.choose()))
        client.sample.failed(order[0], client.now)
        self.assertEqual(client.order()[:2], order[1:])

    def test_primary(self) -> None:
        """The first three that are listed, whether they answer or not."""
        client = Client(range(100))
        order = client.order()
        self.assertEqual(client.sample.primary, order)
        client.sample.failed(order[0], client.now)
        self.assertNotEqual(client.order(), order)
        self.assertEqual(client.sample.primary, order)
        client.list(name for name in range(100) if node_id(name) != order[0])
        client.order()
        self.assertEqual(client.sample.primary[:2], order[1:])

    def test_confirmed_come_first(self) -> None:
        """A guard that answered is preferred to those that never did, in the order of answers."""
        client = Client(range(20))
        one, two, three = client.order()
        client.sample.confirmed(three, NOW)
        client.sample.confirmed(two, NOW + 1)
        client.sample.confirmed(three, NOW + 2)
        self.assertEqual(client.sample.node_ids[:3], (three, two, one))

    def test_strangers_are_ignored(self) -> None:
        """What is said of a node that is no guard changes no guard."""
        client = Client(range(5))
        client.choose()
        before = client.sample.encode()
        client.sample.failed(node_id("stranger"), NOW)
        client.sample.confirmed(node_id("stranger"), NOW)
        client.sample.circuit(node_id("stranger"), True)
        self.assertEqual(client.sample.encode(), before)


class SampleTests(SynchronousTestCase):
    def test_size(self) -> None:
        """The sample holds a fifth of the nodes, at least three, at most sixty."""
        for nodes, expected in ((1, 1), (2, 2), (5, 3), (30, 6), (200, 40), (400, 60)):
            client = Client(range(nodes))
            client.choose()
            self.assertEqual(len(client.sample.node_ids), expected, nodes)

    def test_nobody_listed(self) -> None:
        """Without nodes there is no guard, and an empty listing says nothing about those there are."""
        client = Client([])
        self.assertRaises(TooFewNodes, client.choose)
        client.list(range(5))
        guard = client.choose()
        client.list([])
        client.now += 30 * DAY
        client.sample.changed = False
        self.assertRaises(TooFewNodes, client.choose)
        client.list(range(5))
        self.assertEqual(client.choose(), guard)
        self.assertFalse(client.sample.changed)

    def test_forged_nodes_are_no_guards(self) -> None:
        """A node whose descriptor is forged does not get into the sample."""
        netdir = network([document(1), forge(document(2)), forge(document(3))])
        sample = GuardSample()
        sample.choose(netdir, NOW, randbelow())
        self.assertEqual(sample.node_ids, (node_id(1),))

    def test_guard_whose_descriptor_became_forged(self) -> None:
        """A guard is passed over while its descriptor cannot be used."""
        client = Client([1, 2, 3])
        guard = client.choose()
        client.netdir = network(
            [forge(document(name)) if node_id(name) == guard else document(name) for name in (1, 2, 3)]
        )
        self.assertNotEqual(client.choose(), guard)

    def test_unlisted(self) -> None:
        """A guard that is not listed is replaced at once, comes back if it is listed again, and goes after 20 days."""
        client = Client(range(4))
        guard = client.enter()
        others = [name for name in range(4) if node_id(name) != guard]
        client.list(others)
        self.assertNotEqual(client.choose(), guard)
        client.now += 20 * DAY
        client.list(range(4))
        self.assertEqual(client.choose(), guard)
        client.list(others)
        client.choose()
        client.now += 20 * DAY + 1
        client.choose()
        self.assertNotIn(guard, client.sample.node_ids)

    def test_changing_network(self) -> None:
        """Where all nodes are new each day, the sample stays bounded and the longest gone make room."""
        client = Client(range(3))
        for day in range(25):
            client.list(range(3 * day, 3 * day + 3))
            client.now += HOUR
            client.choose()
        self.assertEqual(len(client.sample.node_ids), 60)
        self.assertNotIn(node_id(0), client.sample.node_ids)
        self.assertIn(node_id(74), client.sample.node_ids)

    def test_life(self) -> None:
        """A guard goes after 120 days, or 60 days after it was confirmed if that is later."""
        client = Client(range(5))
        one, two, _ = client.order()
        client.sample.confirmed(one, NOW + 100 * DAY)
        client.sample.confirmed(two, NOW + 10 * DAY)
        client.now += 121 * DAY
        client.choose()
        self.assertEqual(client.sample.node_ids[0], one)
        self.assertNotIn(two, client.sample.node_ids[:1])
        client.now = NOW + 160 * DAY + 1
        client.choose()
        self.assertNotIn(one, client.sample.node_ids[:1])

    def test_age_is_blurred(self) -> None:
        """Guards sampled at one time do not all go on one day."""
        client = Client(range(100))
        client.choose()
        stored: Any = fields(bytes(32) + client.sample.encode())
        added = {guard[1] for guard in stored[1]}
        self.assertGreater(len(added), 15)
        self.assertTrue(all(NOW - 12 * DAY <= day <= NOW for day in added))


class RetryTests(SynchronousTestCase):
    def test_backoff(self) -> None:
        """A guard that fails waits 5 s, then twice as long each time, up to ten minutes."""
        client = Client([1])
        guard = client.choose()
        for wait in (5, 10, 20, 40, 80, 160, 320, 600, 600):
            client.sample.failed(guard, client.now)
            client.sample.failed(guard, client.now + 1)
            client.now += wait - 0.5
            self.assertRaises(PathError, client.choose)
            client.now += 0.5
            self.assertEqual(client.choose(), guard)
        client.sample.confirmed(guard, client.now)
        client.sample.failed(guard, client.now)
        client.now += 5
        self.assertEqual(client.choose(), guard)

    def test_clock_set_back(self) -> None:
        """A clock that was set back does not make a guard wait for years."""
        client = Client([1])
        guard = client.choose()
        client.sample.failed(guard, client.now)
        client.now -= 1000 * DAY
        self.assertEqual(client.choose(), guard)

    def test_outage(self) -> None:
        """In an hour without network three guards a minute are tried, later the primary ones only; none is lost."""
        client = Client(range(300))
        guard = client.enter()
        sample = client.sample.node_ids
        client.dead = {node_id(name) for name in range(300)}
        tried: dict[int, set[NodeId]] = {}
        start = client.now
        while client.now < start + 3600:
            try:
                candidate = client.choose()
            except PathError:
                pass
            else:
                tried.setdefault(int(client.now - start) // 60, set()).add(candidate)
                client.sample.failed(candidate, client.now)
            client.now += 1
        self.assertTrue(all(len(guards) <= 3 for guards in tried.values()))
        late = set().union(*(guards for minute, guards in tried.items() if minute > 10))
        self.assertEqual(late, set(sample[:3]))
        self.assertEqual(client.sample.node_ids, sample)
        client.dead = set()
        self.assertEqual(client.enter_for(700)[-1], guard)

    def test_after_an_outage_the_first_is_tried_first(self) -> None:
        """When any guard answers after an outage, the primary ones are not made to wait any longer."""
        client = Client(range(20))
        client.enter()
        one, two, _ = client.order()
        for _ in range(8):
            client.sample.failed(one, client.now)
            client.now += 601
        client.sample.failed(one, client.now)
        client.sample.confirmed(two, client.now)
        self.assertEqual(client.choose(), one)

    def test_short_failure_is_the_guards_own(self) -> None:
        """Without an outage a guard that failed waits its time, though another one answers."""
        client = Client(range(20))
        one, two, _ = client.order()
        client.sample.failed(one, client.now)
        client.sample.confirmed(two, client.now)
        self.assertEqual(client.choose(), two)

    def test_success_ends_an_outage(self) -> None:
        """What failed long before a success is no sign of an outage any more."""
        client = Client(range(20))
        one, two, _ = client.order()
        client.sample.failed(one, client.now)
        client.sample.confirmed(one, client.now)
        client.now += 700
        client.sample.failed(one, client.now)
        client.sample.confirmed(two, client.now)
        self.assertEqual(client.choose(), two)

    def test_success_forgets_failures(self) -> None:
        """After a success a guard waits as little as at first."""
        client = Client([1])
        guard = client.choose()
        for _ in range(4):
            client.sample.failed(guard, client.now)
            client.now += 100
        client.sample.confirmed(guard, client.now)
        client.sample.failed(guard, client.now)
        client.now += 5
        self.assertEqual(client.choose(), guard)


class BiasTests(SynchronousTestCase):
    def biased_after(self, circuits: int, every: int) -> tuple[GuardBias, ...]:
        client = Client([1])
        guard = client.choose()
        for number in range(circuits):
            client.sample.circuit(guard, number % every == 0)
        return client.sample.biased()

    def test_evil_guard(self) -> None:
        """A guard that fails 80 % of circuits is named within 200, a half-failing one is not."""
        (found,) = self.biased_after(200, 5)
        self.assertEqual(found, GuardBias(node_id(1), 0.2, True))
        self.assertEqual(self.biased_after(200, 2), ())

    def test_warning(self) -> None:
        """Between 30 and 50 % it is a plain warning."""
        (found,) = self.biased_after(150, 3)
        self.assertFalse(found.strong)

    def test_too_few(self) -> None:
        """A few circuits say nothing."""
        self.assertEqual(self.biased_after(149, 5), ())

    def test_old_circuits_fade(self) -> None:
        """Counters stay bounded, and a guard that got better is forgiven."""
        client = Client([1])
        guard = client.choose()
        for number in range(1000):
            client.sample.circuit(guard, number >= 400)
        self.assertEqual(client.sample.biased(), ())
        client.restart()


class ExposureTests(SynchronousTestCase):
    def test_month_with_evil_nodes(self) -> None:
        """In 30 days, with 5 % evil nodes and each node off for an hour now and then, few clients meet one."""
        evil = {node_id(name) for name in range(5)}
        netdir = network([document(name) for name in range(100)])
        exposed = 0
        for seed in range(100):
            chance = random.Random(seed)
            sample, met = GuardSample(), False
            for hour in range(0, 30 * 24, 4):
                now = NOW + hour * HOUR
                for _ in range(3):
                    guard = sample.choose(netdir, now, chance.randrange)
                    if chance.random() < 0.008:
                        sample.failed(guard, now)
                        continue
                    sample.confirmed(guard, now)
                    met = met or guard in evil
                    break
                if met:
                    break
            exposed += met
        self.assertLessEqual(exposed, 10)


class StateTests(SynchronousTestCase):
    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes are refused with a StateError, even with a hash that fits."""
        self.assertRaises(StateError, GuardSample.decode, data)
        self.assertRaises(StateError, GuardSample.decode, document_hash(data) + data)

    def test_every_prefix_and_flipped_byte(self) -> None:
        """A torn or damaged file is refused."""
        client = Client(range(3))
        client.choose()
        data = client.sample.encode()
        for place in range(len(data)):
            self.assertRaises(StateError, GuardSample.decode, data[:place])
            bad = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            self.assertRaises(StateError, GuardSample.decode, bad)

    def test_bad_content(self) -> None:
        """A key that is none, and nesting without end, are refused."""
        sample: Any = fields(bytes(32) + self.encoded())
        for body in (b"\x91" * 10_000, b"\x92\x01\xdd\xff\xff\xff\xff"):
            self.assertRaises(StateError, GuardSample.decode, document_hash(body) + body)
        bad_key = self.encoded()[32:].replace(sample[1][0][0], bytes(32))
        self.assertRaises(StateError, GuardSample.decode, document_hash(bad_key) + bad_key)

    def encoded(self) -> bytes:
        client = Client([1])
        client.choose()
        return client.sample.encode()

    def test_round_trip(self) -> None:
        """Guards, their order and their counters survive."""
        client = Client(range(20))
        for guard in client.order()[::-1]:
            client.sample.confirmed(guard, client.now)
            client.now += 1
        for _ in range(160):
            client.sample.circuit(client.choose(), False)
        before = client.sample
        client.restart()
        self.assertEqual(client.sample.node_ids, before.node_ids)
        self.assertEqual(client.sample.biased(), before.biased())
        self.assertEqual(client.sample.encode(), before.encode())

    def test_changed(self) -> None:
        """The sample says when there is something to save."""
        client = Client(range(5))
        self.assertFalse(client.sample.changed)
        client.choose()
        self.assertTrue(client.sample.changed)
        client.sample.changed = False
        client.choose()
        self.assertFalse(client.sample.changed)
        client.sample.confirmed(client.choose(), NOW)
        self.assertTrue(client.sample.changed)
