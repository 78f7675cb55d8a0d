"""Tests of torpydo.node.resolver."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from torpydo.node import NodeLimits
from torpydo.node.resolver import FAILURE_LIFE, NAME_LIFE, Asker, Outcome, Resolver, parse_literal
from torpydo.testing import SimulatedReactor
from torpydo.tpdp import EndReason

ONE = bytes([203, 0, 113, 1])
TWO = bytes([203, 0, 113, 2])


class LiteralTests(SynchronousTestCase):
    """Which texts are addresses."""

    def test_addresses(self) -> None:
        """Both kinds, IPv6 with or without brackets."""
        self.assertEqual(parse_literal("203.0.113.1"), ONE)
        self.assertEqual(parse_literal("::1"), bytes(15) + b"\1")
        self.assertEqual(parse_literal("[::1]"), bytes(15) + b"\1")

    def test_everything_else(self) -> None:
        """Older spellings, zones and names are none."""
        for text in ("2130706433", "0x7f.1", "127.1", "0177.0.0.1", "1.2.3.4.", "fe80::1%eth0", "[::1", "", "a.b"):
            self.assertIsNone(parse_literal(text), text)

    @given(st.text(max_size=40))
    def test_never_fails(self, text: str) -> None:
        """Whatever a client sends."""
        self.assertIn(len(parse_literal(text) or b"four"), (4, 16))


class ResolverTests(SynchronousTestCase):
    """Names to addresses."""

    def setUp(self) -> None:
        self.reactor = SimulatedReactor()
        self.names = self.reactor.names
        self.names.table = {"one.example": ["203.0.113.1"], "both.example": ["203.0.113.1", "2001:db8::1"]}
        self.resolver = self.make(NodeLimits())
        self.numbers = count()

    def make(self, limits: NodeLimits) -> Resolver:
        """A resolver that knows nothing yet."""
        return Resolver(self.reactor, randbelow=lambda below: 0, limits=limits)

    def resolve(self, host: str) -> Outcome:
        """What a name leads to."""
        return self.reactor.success(self.resolver.resolve(host))

    def test_a_name(self) -> None:
        """Asked for as an absolute one, so that no search domain is appended (SECURITY E5)."""
        self.assertEqual(self.resolve("one.example"), (ONE,))
        self.assertEqual(self.names.lookups, ["one.example."])

    def test_both_kinds(self) -> None:
        """In the order of the answer."""
        found = self.resolve("both.example")
        assert not isinstance(found, EndReason)
        self.assertEqual([len(ip) for ip in found], [4, 16])

    def test_a_literal(self) -> None:
        """Is its own answer, and nobody is asked."""
        self.assertEqual(self.resolve("203.0.113.1"), (ONE,))
        self.assertEqual(self.names.lookups, [])

    def test_what_is_no_name(self) -> None:
        """Is not even asked for."""
        long = ("-" * 64, "x." * 127 + "x")
        for host in ("", ".", "a..b", "a b", "a/b", "ä.example", "1.2.3.999", "0x1", "a\0b", "a\n", *long):
            self.assertEqual(self.resolve(host), EndReason.RESOLVE_FAILED, host)
        self.assertEqual(self.names.lookups, [])

    def test_unknown(self) -> None:
        """No address: it does not resolve."""
        self.assertEqual(self.resolve("nowhere.example"), EndReason.RESOLVE_FAILED)

    def test_silence(self) -> None:
        """Three tries of a second, then that is the answer; a late one still counts for others."""
        self.names.silent.add("one.example.")
        waiting = self.resolver.resolve("one.example")
        self.reactor.advance(2.9)
        self.assertNoResult(waiting)
        self.reactor.advance(0.2)
        self.assertEqual(self.successResultOf(waiting), EndReason.RESOLVE_TIMEOUT)
        self.assertEqual(len(self.names.lookups), 3)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_slow(self) -> None:
        """The first answer counts, whichever try it is for."""
        self.names.delay = 1.5
        self.assertEqual(self.resolve("one.example"), (ONE,))

    def test_remembered(self) -> None:
        """For a minute, in any case of letters and with a dot at the end."""
        self.resolve("one.example")
        self.names.table = {}
        self.assertEqual(self.resolve("ONE.example."), (ONE,))
        self.reactor.advance(NAME_LIFE + 1)
        self.assertEqual(self.resolve("one.example"), EndReason.RESOLVE_FAILED)

    def test_nobody_can_tell_when_somebody_else_asked(self) -> None:
        """How long an answer is used varies by a quarter, and is never more than a minute (TROVE-2021-009)."""
        self.resolver = Resolver(self.reactor, randbelow=lambda below: below - 1)
        self.resolve("one.example")
        self.names.table = {}
        self.reactor.advance(NAME_LIFE * 0.75 - 1)
        self.assertEqual(self.resolve("one.example"), (ONE,))
        self.reactor.advance(1)
        self.assertEqual(self.resolve("one.example"), EndReason.RESOLVE_FAILED)

    def test_what_is_held(self) -> None:
        """It is counted, and cut from its oldest end."""
        for number in range(5):
            self.resolve(f"n{number}.example")
        self.resolve("both.example")
        self.resolve("both.example")
        full = self.resolver.held
        self.resolver.cut(full)
        self.assertEqual(self.resolver.held, full)
        self.resolver.cut(full // 2)
        self.assertLessEqual(self.resolver.held, full // 2)
        asked = len(self.names.lookups)
        self.resolve("both.example")
        self.assertEqual(len(self.names.lookups), asked)
        self.resolve("n0.example")
        self.assertEqual(len(self.names.lookups), asked + 1)
        self.resolver.cut(0)
        self.assertEqual(self.resolver.held, 0)

    def test_asked_again(self) -> None:
        """What a name held before does not count twice."""
        self.resolve("one.example")
        held = self.resolver.held
        self.reactor.advance(NAME_LIFE + 1)
        self.resolve("one.example")
        self.assertEqual(self.resolver.held, held)

    def test_a_failure_is_remembered_for_less(self) -> None:
        """Ten seconds."""
        self.resolve("new.example")
        self.names.table = {"new.example": ["203.0.113.2"]}
        self.assertEqual(self.resolve("new.example"), EndReason.RESOLVE_FAILED)
        self.reactor.advance(FAILURE_LIFE + 1)
        self.assertEqual(self.resolve("new.example"), (TWO,))

    def test_its_memory_is_bounded(self) -> None:
        """The name that was learned first is forgotten first."""
        self.resolver = self.make(NodeLimits(names=3))
        for number in range(5):
            self.resolve(f"n{number}.example")
        asked = len(self.names.lookups)
        self.resolve("n4.example")
        self.assertEqual(len(self.names.lookups), asked)
        self.resolve("n0.example")
        self.assertEqual(len(self.names.lookups), asked + 1)

    def test_those_who_ask_together_are_answered_together(self) -> None:
        """One question for all."""
        waiting = [self.resolver.resolve("one.example") for _ in range(3)]
        self.reactor.flush()
        self.assertEqual([self.successResultOf(one) for one in waiting], [(ONE,)] * 3)
        self.assertEqual(len(self.names.lookups), 1)

    def test_one_who_leaves(self) -> None:
        """The others still get their answer."""
        leaves, stays = self.resolver.resolve("one.example"), self.resolver.resolve("one.example")
        leaves.cancel()
        self.failureResultOf(leaves, CancelledError)
        self.reactor.flush()
        self.assertEqual(self.successResultOf(stays), (ONE,))

    def ask(self, asker: Asker, names: int) -> int:
        """Ask for so many names nobody has asked for.

        :return: how many were not refused at once
        """
        asked = [self.resolver.resolve(f"n{next(self.numbers)}.example", asker) for _ in range(names)]
        return [one.called and one.result is EndReason.RESOURCE_LIMIT for one in asked].count(False)

    def leave(self, host: str, asker: Asker | None = None) -> None:
        """Ask, and do not wait."""
        left = self.resolver.resolve(host, asker)
        left.addErrback(lambda failure: failure.trap(CancelledError))
        left.cancel()

    def test_too_many_questions(self) -> None:
        """One circuit gets half of what the others leave, so that something is left for the next one."""
        self.resolver = self.make(NodeLimits(lookups=64))
        self.names.delay = 0.5
        askers = [Asker() for _ in range(5)]
        self.assertEqual([self.ask(asker, 64) for asker in askers], [22, 14, 10, 6, 4])
        self.reactor.advance(1)
        self.assertEqual([asker.open for asker in askers], [0] * 5)
        self.assertEqual(self.ask(Asker(), 64), 22)

    def test_the_node_itself(self) -> None:
        """What it needs for itself is never refused."""
        self.resolver = self.make(NodeLimits(lookups=1))
        self.names.delay = 0.5
        self.assertEqual([self.ask(Asker(), 1) for _ in range(2)], [1, 0])
        self.assertEqual(self.resolve("one.example"), (ONE,))

    def test_questions_that_nobody_waits_for(self) -> None:
        """They hold a thread until they are answered, so they count until then, however often they are asked again."""
        self.resolver = self.make(NodeLimits(lookups=64))
        self.names.delay = 20
        for _ in range(10):
            asker = Asker()
            for _ in range(100):
                self.leave(f"n{next(self.numbers)}.example", asker)
                self.ask(asker, 1)
            self.reactor.advance(1)
        self.assertLessEqual(len(self.names.lookups), 64)
        self.reactor.advance(20)
        self.assertEqual(self.ask(Asker(), 64), 22)

    def test_nobody_waits_any_more(self) -> None:
        """Then it is not asked for again."""
        self.names.silent.add("one.example.")
        self.leave("one.example")
        self.reactor.advance(5)
        self.assertEqual(len(self.names.lookups), 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_close(self) -> None:
        """Nobody waits any more, and no call is left."""
        self.names.silent.add("one.example.")
        waiting = self.resolver.resolve("one.example")
        self.resolver.close()
        self.assertEqual(self.successResultOf(waiting), EndReason.RESOLVE_TIMEOUT)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_one_that_waits_cancels_another(self) -> None:
        """In the moment in which both would be told."""
        self.names.delay = 0.5
        first, second = self.resolver.resolve("one.example"), self.resolver.resolve("one.example")
        first.addCallback(lambda found: second.cancel())
        self.reactor.advance(1)
        self.successResultOf(first)
        self.failureResultOf(second, CancelledError)
