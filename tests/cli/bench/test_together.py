"""Tests of torpydo.cli.bench.together."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.together import LOOK_AGAIN, some_at_a_time, together, watched
from torpydo.errors import StreamFailed, TorpydoError


class TogetherTests(SynchronousTestCase):
    """Coroutines at the same time."""

    def test_results_are_in_order(self) -> None:
        """Whichever is over first."""
        first: Deferred[int] = Deferred()
        second: Deferred[int] = Deferred()

        async def wait(deferred: Deferred[int]) -> int:
            return await deferred

        result = Deferred.fromCoroutine(together(map(wait, (first, second))))
        second.callback(2)
        first.callback(1)
        self.assertEqual(self.successResultOf(result), [1, 2])

    def test_a_failure_cancels_the_others(self) -> None:
        """Nothing goes on that nobody awaits; the failure is the first one's own."""
        ended: list[str] = []

        async def wait() -> None:
            try:
                await Deferred()
            except CancelledError:
                ended.append("cancelled")
                raise

        async def fail() -> None:
            raise StreamFailed("torn")

        self.failureResultOf(Deferred.fromCoroutine(together([wait(), fail()])), StreamFailed)
        self.assertEqual(ended, ["cancelled"])

    def test_the_failure_comes_when_all_are_over(self) -> None:
        """What the others have started is ended by then."""
        cleaned: Deferred[None] = Deferred()

        async def wait() -> None:
            try:
                await Deferred()
            finally:
                await cleaned

        async def fail() -> None:
            raise StreamFailed("torn")

        result = Deferred.fromCoroutine(together([wait(), fail()]))
        self.assertNoResult(result)
        cleaned.callback(None)
        self.failureResultOf(result, StreamFailed)

    def test_some_at_a_time(self) -> None:
        """Never more than the most, and all in the end."""
        running: list[Deferred[None]] = []
        done: list[int] = []

        async def do(number: int) -> None:
            running.append(Deferred())
            await running[-1]
            done.append(number)

        result = Deferred.fromCoroutine(some_at_a_time(2, do, 5))
        while running:
            self.assertLessEqual(len(running), 2)
            running.pop(0).callback(None)
        self.successResultOf(result)
        self.assertEqual(done, [0, 1, 2, 3, 4])


class WatchedTests(SynchronousTestCase):
    """A coroutine, and what it needs."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.work: Deferred[int] = Deferred()
        self.gone = False
        self.ended: list[str] = []

    def check(self) -> None:
        """What is looked at."""
        if self.gone:
            raise TorpydoError("the line is gone")

    def start(self) -> Deferred[int]:
        """Start it."""

        async def run() -> int:
            try:
                return await self.work
            finally:
                self.ended.append("ended")

        return Deferred.fromCoroutine(watched(self.clock, run(), self.check))

    def test_its_result(self) -> None:
        """Nobody looks any more after that."""
        result = self.start()
        self.clock.advance(LOOK_AGAIN)
        self.work.callback(7)
        self.assertEqual(self.successResultOf(result), 7)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_it_needs_is_gone(self) -> None:
        """It is ended, and the reason is what was found."""
        result = self.start()
        self.gone = True
        self.clock.advance(LOOK_AGAIN)
        error = self.failureResultOf(result, TorpydoError).value
        self.assertEqual((str(error), self.ended), ("the line is gone", ["ended"]))

    def test_it_is_gone_from_the_beginning(self) -> None:
        """Nothing is waited for."""
        self.gone = True
        self.failureResultOf(self.start(), TorpydoError)
        self.assertEqual(self.ended, ["ended"])

    def test_it_fails_because_of_that(self) -> None:
        """The cause is the better reason, even if nobody has looked yet; any other failure is its own."""
        for gone, reason in ((True, "the line is gone"), (False, "torn")):
            self.gone, self.work = False, Deferred()
            result = self.start()
            self.gone = gone
            self.work.errback(StreamFailed("torn"))
            self.assertEqual(str(self.failureResultOf(result, TorpydoError).value), reason)

    def test_it_is_cancelled(self) -> None:
        """Both end."""
        result = self.start()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual((self.ended, self.clock.getDelayedCalls()), (["ended"], []))
