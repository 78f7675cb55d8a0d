"""Tests of torpydo.net.slices."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import Later, Slices

TURN = 0.001


def later(clock: Clock) -> Later:
    """What is due at once is due in the next turn; Twisted's clock would do it in this one."""
    return lambda seconds, call: clock.callLater(seconds + TURN, call)


class SlicesTests(SynchronousTestCase):
    """Work of pieces that take as long as a test says."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.now = 0.0
        self.done = 0

    async def work(self, pieces: int, seconds: float) -> str:
        slices = Slices(later(self.clock), lambda: self.now, 0.005)
        for _ in range(pieces):
            self.done += 1
            self.now += seconds
            await slices.give_way()
        return "over"

    def test_short(self) -> None:
        """What fits into a slice is over at once."""
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(self.work(10, 0.0004))), "over")

    def test_long(self) -> None:
        """What does not, goes on a slice in each turn of the reactor."""
        over = Deferred.fromCoroutine(self.work(12, 0.002))
        progress = [self.done]
        for _ in range(3):
            self.assertNoResult(over)
            self.clock.advance(TURN)
            progress.append(self.done)
        self.clock.advance(TURN)
        self.assertEqual(progress, [3, 6, 9, 12])
        self.assertEqual(self.successResultOf(over), "over")

    def test_time_of_others_does_not_count(self) -> None:
        """A slice begins when it is its turn, however long others took theirs."""
        over = Deferred.fromCoroutine(self.work(6, 0.002))
        self.now += 100
        self.clock.advance(TURN)
        self.assertEqual(self.done, 6)
        self.clock.advance(TURN)
        self.successResultOf(over)

    def test_cancel(self) -> None:
        """Cancelling ends the work and leaves nothing to happen."""
        over = Deferred.fromCoroutine(self.work(12, 0.002))
        over.cancel()
        self.failureResultOf(over, CancelledError)
        self.assertEqual((self.done, self.clock.getDelayedCalls()), (3, []))
