"""Tests of torpydo.net.gate."""

from __future__ import annotations

import math
from collections import Counter

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import FileBudget, Gate, GateRefusal, gate
from torpydo.net.gate import KNOWN
from torpydo.tpdp import Address


@attrs.define
class Some:
    """Limits for these tests."""

    connects_per_second: float = 20.0
    connects_burst: float = 40.0
    connects_refused: float = 600.0
    links_per_host: float = 100
    links_pending: float = 256
    links_pending_per_host: float = 10


@attrs.define(eq=False)
class Caller:
    """A connection."""

    aborted: str = ""

    def abort(self, why: str) -> None:
        """See ``Knocking``."""
        self.aborted = why


def at(number: int, last: int = 1) -> Address:
    """One of many hosts."""
    return Address(bytes([20, *number.to_bytes(2, "big"), last]), 5000)


class GateTestCase(SynchronousTestCase):
    """A gate."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.limits = Some()
        self.refused: Counter[GateRefusal] = Counter()
        self.open = 0
        self.files = FileBudget(self.clock.seconds, 5000, lambda: self.open)
        self.gate = Gate(self.clock.seconds, lambda: self.limits, self.files, self.refuse)

    def refuse(self, refusal: GateRefusal) -> None:
        """Count it."""
        self.refused[refusal] += 1

    def connect(self, address: Address | None, count: int = 1) -> list[Caller]:
        """Connections, as a factory takes them; those that are admitted."""
        callers = []
        for _ in range(count):
            if self.gate.admits(address):
                callers.append(Caller())
                self.gate.begun(callers[-1], address)
        return callers


class RateTests(GateTestCase):
    """How fast a host may connect (SECURITY D1)."""

    def finish(self, callers: list[Caller]) -> int:
        """They did what they wanted and leave; how many they were."""
        for caller in callers:
            self.gate.ready(caller)
            self.gate.gone(caller)
        return len(callers)

    def storm(self, address: Address, count: int) -> int:
        """So many connect at once; how many are taken."""
        return sum(self.finish(self.connect(address)) for _ in range(count))

    def test_the_burst_and_then_nothing_for_ten_minutes(self) -> None:
        """Who asks for more is refused altogether, however little he asks for then."""
        self.assertEqual(self.storm(at(1), 100), 40)
        self.assertEqual(self.refused, {GateRefusal.CONNECTS_TOO_FAST: 60})
        for _ in range(599):
            self.clock.advance(1)
            self.assertEqual(self.storm(at(1), 1), 0)
        self.clock.advance(1)
        self.assertEqual(self.storm(at(1), 1), 1)

    def test_the_rate(self) -> None:
        """Twenty a second may go on for ever."""
        self.assertEqual(self.storm(at(1), 40), 40)
        for _ in range(20):
            self.clock.advance(1)
            self.assertEqual(self.storm(at(1), 20), 20)
        self.assertEqual(self.refused, {})

    def test_other_hosts(self) -> None:
        """They are not concerned; the addresses of one /64 are one host."""
        self.storm(at(1), 100)
        self.assertEqual(self.storm(at(2), 1), 1)
        one, same, other = (Address.parse(text, 1) for text in ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"))
        self.storm(one, 100)
        self.assertEqual((self.storm(same, 1), self.storm(other, 1)), (0, 1))

    def test_nodes(self) -> None:
        """The host of a node has ten times as much, and is never refused for longer than it takes."""
        self.gate.known = {at(1).ip}
        self.assertEqual(self.storm(at(1), 1000), 40 * KNOWN)
        self.clock.advance(0.1)
        self.assertEqual(self.storm(at(1), 100), 2 * KNOWN)

    def test_a_host_that_becomes_a_node(self) -> None:
        """What it did before does not count any more."""
        self.storm(at(1), 100)
        self.gate.known = {at(1).ip}
        self.assertEqual(self.storm(at(1), 1), 1)

    def test_a_test_network(self) -> None:
        """Without limits there is none, also for those who were refused while there was one."""
        self.storm(at(1), 41)
        self.limits.connects_per_second = self.limits.connects_burst = math.inf
        self.assertEqual(self.storm(at(1), 1000), 1000)

    def test_without_an_address(self) -> None:
        """Nobody knows who it is: over a Unix socket, for example."""
        self.assertEqual(sum(self.finish(self.connect(None)) for _ in range(100)), 100)

    def test_somebody_else_counts(self) -> None:
        """As it is for the workers of a node."""
        self.gate = Gate(self.clock.seconds, lambda: self.limits, self.files, self.refuse, counts_connects=False)
        self.assertEqual(self.storm(at(1), 100), 100)

    def test_those_who_are_refused_are_bounded(self) -> None:
        """With very many hosts, who was refused first is forgotten; but first those whose time is over."""
        self.patch(gate, "MAX_REFUSED", 3)
        for number in range(4):
            self.storm(at(number), 41)
        self.clock.advance(10)
        self.assertEqual([self.storm(at(number), 1) for number in range(4)], [1, 0, 0, 0])
        self.clock.advance(595)
        self.storm(at(9), 41)
        self.assertEqual(len(self.gate._refused_until), 1)


class PendingTests(GateTestCase):
    """Connections whose handshake is not finished (SECURITY L5, section 3 case 7)."""

    def setUp(self) -> None:
        super().setUp()
        self.limits.connects_burst = math.inf

    def aborted(self, callers: list[Caller]) -> int:
        """How many of them were."""
        return sum(bool(caller.aborted) for caller in callers)

    def test_one_address(self) -> None:
        """Ten; then the oldest makes room."""
        callers = self.connect(at(1), 25)
        self.assertEqual((len(callers), self.gate.pending), (25, 10))
        self.assertEqual([bool(caller.aborted) for caller in callers], [True] * 15 + [False] * 10)
        self.assertEqual(self.refused, {GateRefusal.LINKS_PENDING_PER_HOST: 15})

    def test_a_thousand_sockets_of_a_hundred_addresses(self) -> None:
        """No more than 256; honest clients who connect meanwhile, one from each address, are never aborted."""
        attack: list[Caller] = []
        honest: list[Caller] = []
        for round_ in range(10):
            for number in range(100):
                attack += self.connect(at(number))
            honest += self.connect(at(1000 + round_))
            self.assertLessEqual(self.gate.pending, 256)
        self.assertEqual((self.aborted(honest), self.aborted(attack)), (0, 1010 - 256))
        self.assertEqual(self.refused, {GateRefusal.LINKS_PENDING: 1010 - 256})

    def test_a_thousand_addresses_with_one_each(self) -> None:
        """Then it is the oldest of all: who speaks has all the time in which 256 others connect."""
        honest = self.connect(at(5000))
        attack = [caller for number in range(255) for caller in self.connect(at(number))]
        self.assertEqual(self.aborted(honest + attack), 0)
        self.gate.ready(honest[0])
        attack += [caller for number in range(255, 1000) for caller in self.connect(at(number))]
        self.assertEqual((self.aborted(honest), self.aborted(attack)), (0, 1000 - 256))
        self.assertTrue(all([caller.aborted for caller in attack[: 1000 - 256]]))

    def test_nodes(self) -> None:
        """The host of a node has ten times as many, within those of all."""
        self.gate.known = {at(1).ip}
        callers = self.connect(at(1), 101)
        self.assertEqual((self.aborted(callers), self.gate.pending), (1, 10 * KNOWN))

    def test_without_an_address(self) -> None:
        """Only the limit on all of them counts."""
        callers = self.connect(None, 300)
        self.assertEqual((self.aborted(callers), self.gate.pending), (300 - 256, 256))

    def test_ready(self) -> None:
        """It is not pending any more, and nothing is refused with its end."""
        (caller,) = self.connect(at(1))
        self.gate.ready(caller)
        self.assertEqual(self.gate.pending, 0)
        self.gate.ready(caller)
        self.gate.gone(caller)
        self.gate.gone(caller)
        self.assertEqual((self.gate.pending, self.refused), (0, {}))

    def test_unfinished(self) -> None:
        """One that ends before is counted, once; one that was aborted for others was counted then."""
        (caller,) = self.connect(at(1))
        self.gate.gone(caller)
        self.gate.gone(caller)
        self.assertEqual(self.refused, {GateRefusal.LINKS_UNFINISHED: 1})
        self.limits.links_pending = 1
        for caller in self.connect(at(1), 2):
            self.gate.gone(caller)
        self.assertEqual(self.refused, {GateRefusal.LINKS_UNFINISHED: 2, GateRefusal.LINKS_PENDING: 1})

    def test_nothing_is_kept(self) -> None:
        """Of connections that are over."""
        for caller in self.connect(at(1), 20) + self.connect(None, 20) + self.connect(at(2), 20):
            self.gate.gone(caller)
        self.assertEqual((self.gate._hosts, self.gate._open, self.gate._pending, self.gate.pending), ({}, {}, {}, 0))


class OpenTests(GateTestCase):
    """Connections that are open (SECURITY D1, D4)."""

    def setUp(self) -> None:
        super().setUp()
        self.limits.connects_burst = math.inf

    def test_links_of_one_host(self) -> None:
        """A hundred; then each that leaves makes room for another."""
        for _ in range(120):
            for caller in self.connect(at(1)):
                self.gate.ready(caller)
        self.assertEqual(self.refused, {GateRefusal.LINKS_PER_HOST: 20})
        self.gate.gone(caller)
        self.assertEqual([len(self.connect(at(1))) for _ in range(2)], [1, 0])
        self.assertEqual(len(self.connect(at(2))), 1)

    def test_links_of_the_host_of_a_node(self) -> None:
        """Ten times as many."""
        self.gate.known = {at(1).ip}
        self.limits.links_per_host = 3
        for _ in range(40):
            for caller in self.connect(at(1)):
                self.gate.ready(caller)
        self.assertEqual(self.refused, {GateRefusal.LINKS_PER_HOST: 40 - 3 * KNOWN})

    def test_file_descriptors(self) -> None:
        """Without one nobody is admitted, and whoever listens can make a pause."""
        pauses: list[None] = []
        self.gate.exhausted = lambda: pauses.append(None)
        self.open = 4990
        self.assertEqual((self.connect(at(1)), self.connect(None)), ([], []))
        self.assertEqual((self.refused, len(pauses)), ({GateRefusal.FILES: 2}, 2))
        self.open = 10
        self.clock.advance(1)
        self.assertEqual(len(self.connect(at(1))), 1)

    def test_those_who_say_nothing(self) -> None:
        """They have a quarter of the file descriptors, if these are few: the rest is for those who do."""
        self.files.most = 128
        callers = self.connect(at(1), 10) + self.connect(at(2), 10) + self.connect(at(3), 10) + self.connect(at(4), 10)
        self.assertEqual((self.gate.pending, sum(bool(one.aborted) for one in callers)), (32, 8))
        self.assertEqual(self.refused, {GateRefusal.LINKS_PENDING: 8})

    def test_given_back(self) -> None:
        """A connection that is closed makes room at once, not only when the next look shows it."""
        self.open = 4960
        self.assertEqual(len(self.connect(at(1), 10)), 8)
        self.gate.closed()
        self.assertEqual(len(self.connect(at(1), 10)), 1)

    def test_who_is_refused_uses_none(self) -> None:
        """A flood from one address does not use up what is counted as granted."""
        self.limits.connects_burst = 40
        self.connect(at(1), 2000)
        self.assertEqual(self.files.used, 40)
