"""When links write: once for all that one read has caused, or at the end of the turn."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.errors import CryptoError
from torpydo.net import Turn


class RecordingLink:
    """Writes its name down when it is flushed."""

    def __init__(self, name: str, flushed: list[str], fails: int = 0) -> None:
        self.name = name
        self.flushed = flushed
        self.fails = fails

    def flush(self) -> None:
        """Write it down, or fail so many times."""
        if self.fails:
            self.fails -= 1
            raise CryptoError(self.name)
        self.flushed.append(self.name)

    def abort(self, why: str) -> None:
        """Write that down, too."""
        self.flushed.append(f"{self.name} is closed")


class TurnTests(SynchronousTestCase):
    """Three links that share a turn."""

    def setUp(self) -> None:
        """Nothing waits."""
        self.clock = Clock()
        self.turn = Turn(self.clock)
        self.flushed: list[str] = []
        self.a, self.b, self.c = [RecordingLink(name, self.flushed) for name in "abc"]

    def test_order(self) -> None:
        """Links write in the order in which they had something to send first."""
        self.turn.begin()
        for link in (self.b, self.a, self.b, self.c):
            self.turn.add(link)
        self.turn.end()
        self.assertEqual(self.flushed, ["b", "a", "c"])

    def test_nothing_before_the_read_is_handled(self) -> None:
        """And nothing is left to a timer: the end of the read is when all of them write."""
        self.turn.begin()
        self.turn.add(self.a)
        self.assertEqual((self.flushed, self.clock.getDelayedCalls()), ([], []))
        self.turn.end()
        self.assertEqual((self.flushed, self.clock.getDelayedCalls()), (["a"], []))

    def test_once_for_each_link(self) -> None:
        """However often it had something to send; what comes later is another turn."""
        for _ in range(2):
            self.turn.begin()
            for _ in range(5):
                self.turn.add(self.a)
            self.turn.end()
        self.assertEqual(self.flushed, ["a", "a"])

    def test_outside_a_read(self) -> None:
        """One call at the end of the turn is for all links, and none is scheduled twice."""
        for link in (self.a, self.b, self.a):
            self.turn.add(link)
        self.assertEqual((self.flushed, len(self.clock.getDelayedCalls())), ([], 1))
        self.clock.advance(0)
        self.assertEqual((self.flushed, self.clock.getDelayedCalls()), (["a", "b"], []))
        self.turn.add(self.c)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_a_read_while_a_call_is_scheduled(self) -> None:
        """It takes along what waits; the call finds nothing then, and schedules nothing."""
        self.turn.add(self.a)
        self.turn.begin()
        self.turn.add(self.b)
        self.turn.end()
        self.assertEqual(self.flushed, ["a", "b"])
        self.clock.advance(0)
        self.assertEqual((self.flushed, self.clock.getDelayedCalls()), (["a", "b"], []))

    def test_a_link_that_gives_to_another(self) -> None:
        """What is given to a link while others write goes out with them; no call is left that finds nothing."""
        turn, a = self.turn, self.a

        class Giving:
            def flush(self) -> None:
                turn.add(a)

            def abort(self, why: str) -> None:
                """It does not fail."""

        giving = Giving()
        self.turn.begin()
        self.turn.add(giving)
        self.turn.end()
        self.assertEqual((self.flushed, self.clock.getDelayedCalls()), (["a"], []))
        self.turn.add(giving)
        self.clock.advance(0)
        self.assertEqual((self.flushed, self.clock.getDelayedCalls()), (["a", "a"], []))

    def test_a_link_that_fails(self) -> None:
        """It is closed; the one that was read does not hear of it, and the others write in the same turn."""
        self.b.fails = 1
        self.turn.begin()
        for link in (self.a, self.b, self.c):
            self.turn.add(link)
        self.turn.end()
        self.assertEqual((self.flushed, self.clock.getDelayedCalls()), (["a", "b is closed", "c"], []))
        self.assertEqual(len(self.flushLoggedErrors(CryptoError)), 1)
        self.turn.add(self.a)
        self.clock.advance(0)
        self.assertEqual(self.flushed[3:], ["a"])

    def test_a_link_that_fails_in_a_call(self) -> None:
        """As in a read."""
        self.a.fails = 1
        self.turn.add(self.a)
        self.turn.add(self.b)
        self.clock.advance(0)
        self.assertEqual(self.flushed, ["a is closed", "b"])
        self.assertEqual(len(self.flushLoggedErrors(CryptoError)), 1)
