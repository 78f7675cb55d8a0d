"""Tests of torpydo.node.stamping: the work is done by hand, or is a hash (SECURITY K1)."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import node_id
from torpydo.crypto import claimed_bits, find_stamp
from torpydo.errors import CryptoError
from torpydo.net import StateDirectory
from torpydo.node import StampStanding
from torpydo.node.stamping import FILE, PAUSE, RETRY, TRIES, Stamping
from torpydo.testing.members import cheap_work

ME = node_id("me")


def stamp(bits: int) -> bytes:
    """A stamp of this node with so many bits, and no more."""
    first = 0
    while True:
        found = find_stamp(ME.raw, bits, first, 100_000, cheap_work)
        assert found is not None
        if claimed_bits(found) == bits:
            return found
        first = int.from_bytes(found[:8], "big") + 1


@attrs.define(eq=False)
class Search:
    """Slices that a test answers."""

    asked: list[tuple[bytes, int, int, int]] = attrs.field(factory=list)
    waiting: list[Deferred[bytes | None]] = attrs.field(factory=list)
    cancelled: int = 0

    def __call__(self, raw_id: bytes, bits: int, first: int, tries: int) -> Deferred[bytes | None]:
        def cancel(result: Deferred[bytes | None]) -> None:
            self.cancelled += 1

        self.asked.append((raw_id, bits, first, tries))
        self.waiting.append(Deferred(cancel))
        return self.waiting[-1]

    def answer(self, found: bytes | None = None) -> None:
        self.waiting.pop().callback(found)


class StampingTests(SynchronousTestCase):
    """A node that works."""

    def setUp(self) -> None:
        self.scratch = os.path.realpath(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)
        self.state = StateDirectory.open(os.path.join(self.scratch, "state"))
        self.addCleanup(self.state.close)
        self.clock = Clock()
        self.search = Search()
        self.found: list[bytes] = []
        self.stamping = self.open()

    def open(self, **overrides: Any) -> Stamping:
        arguments: dict[str, Any] = {
            "reactor": self.clock,
            "node_id": ME,
            "state": self.state,
            "rng": lambda size: bytes(size - 1) + b"\7",
            "search": self.search,
            "found": lambda: self.found.append(self.stamping.stamp),
            **overrides,
        }
        return Stamping.open(**arguments)

    def test_nothing_asked(self) -> None:
        """A node of a network that asks for none does nothing."""
        self.stamping.ask(0)
        self.assertEqual((self.search.asked, self.clock.getDelayedCalls()), ([], []))
        self.assertEqual(self.stamping.standing(), StampStanding())

    def test_slices(self) -> None:
        """It looks a few tries at a time, with pauses, and says how far it is."""
        self.stamping.ask(4)
        self.assertEqual(self.search.asked, [(ME.raw, 4, 7, TRIES)])
        self.search.answer()
        self.assertEqual(self.stamping.standing(), StampStanding(0, 4, True, TRIES, 16))
        self.assertEqual(len(self.search.asked), 1)
        self.clock.advance(PAUSE)
        self.assertEqual(len(self.search.asked), 2)
        self.search.answer(stamp(5))
        self.assertEqual(self.found, [stamp(5)])
        self.assertEqual(self.stamping.standing(), StampStanding(5, 4))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_kept(self) -> None:
        """It survives a restart, and is not looked for again."""
        self.stamping.ask(4)
        self.search.answer(stamp(4))
        again = self.open()
        self.assertEqual(again.stamp, stamp(4))
        again.ask(4)
        self.assertEqual(len(self.search.asked), 1)

    def test_in_memory(self) -> None:
        """Without a state directory it lives as long as the node."""
        self.stamping = self.open(state=None)
        self.stamping.ask(4)
        self.search.answer(stamp(4))
        self.assertEqual(self.found, [stamp(4)])

    def test_torn_or_foreign(self) -> None:
        """A file that is torn, or another node's, is made anew."""
        self.stamping.ask(4)
        self.search.answer(stamp(4))
        whole = self.state.read(FILE)
        assert whole is not None
        for data in (b"", whole[:-1], whole[1:], whole + b"\0", whole[:-1] + bytes([whole[-1] ^ 1])):
            self.state.write(FILE, data)
            with capturedLogs() as logs:
                self.assertEqual(self.open().stamp, b"")
            self.assertEqual(len(logs), 1)
        self.state.write(FILE, whole)
        self.assertEqual(self.open(node_id=node_id("other")).stamp, b"")
        self.assertEqual(self.open().stamp, stamp(4))

    def test_more(self) -> None:
        """What is asked for can rise while it works: what was found for less is not used."""
        self.stamping.ask(4)
        self.stamping.ask(6)
        self.search.answer(stamp(4))
        self.assertEqual((self.found, self.stamping.stamp), ([], b""))
        self.clock.advance(PAUSE)
        self.assertEqual([bits for _, bits, _, _ in self.search.asked], [4, 6])
        self.search.answer(stamp(6))
        self.stamping.ask(8)
        self.search.answer(stamp(8))
        self.assertEqual(self.found, [stamp(6), stamp(8)])

    def test_less(self) -> None:
        """It can fall: the work ends, and what the node has stays."""
        self.stamping.ask(4)
        self.search.answer(stamp(4))
        self.stamping.ask(6)
        self.stamping.ask(3)
        self.search.answer()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((self.found, self.stamping.standing()), ([stamp(4)], StampStanding(4, 3)))

    def test_stop(self) -> None:
        """A stop ends it at once, in a slice and in a pause."""
        self.stamping.ask(4)
        self.stamping.stop()
        self.assertEqual((self.search.cancelled, self.clock.getDelayedCalls()), (1, []))
        self.stamping = self.open()
        self.stamping.ask(4)
        self.search.answer()
        self.stamping.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_memory(self) -> None:
        """Without memory for it the node says so once, and tries again."""
        with capturedLogs() as logs:
            self.stamping.ask(4)
            for _ in range(3):
                self.search.waiting.pop().errback(CryptoError("there is not enough memory"))
                self.clock.advance(RETRY)
        warnings = [formatEvent(event) for event in logs if event["log_level"] is LogLevel.warn]
        self.assertEqual(warnings, ["the work for a stamp waits: there is not enough memory"])
        self.search.answer(stamp(4))
        self.assertEqual(self.found, [stamp(4)])

    def test_full_disk(self) -> None:
        """A stamp that cannot be kept is used all the same."""
        self.state.close()
        with capturedLogs() as logs:
            self.stamping.ask(4)
            self.search.answer(stamp(4))
        self.assertEqual(self.found, [stamp(4)])
        self.assertIn("lost when the node ends", str(formatEvent(logs[-1])))
