"""Tests of torpydo.cli.bench.together."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.together import some_at_a_time, together
from torpydo.errors import StreamFailed


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
