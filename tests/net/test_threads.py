"""Tests of torpydo.net.threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import in_thread


class Threads:
    """A reactor, as far as threads go: what is given to it is done when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []

    def getThreadPool(self) -> Threads:
        return self

    def callFromThread(self, function: Callable[..., object], *arguments: Any) -> None:
        function(*arguments)

    def callInThreadWithCallback(
        self, answer: Callable[..., object], function: Callable[..., object], *arguments: Any, **options: Any
    ) -> None:
        def work() -> None:
            try:
                answer(True, function(*arguments, **options))
            except ValueError:
                answer(False, Failure())

        self.waiting.append(work)


class ThreadTests(SynchronousTestCase):
    """Work elsewhere."""

    def setUp(self) -> None:
        self.threads = Threads()
        self.work = in_thread(self.threads, int)

    def test_result(self) -> None:
        """It fires with what the function gives, later."""
        done = self.work("11", base=2)
        self.assertNoResult(done)
        self.threads.waiting.pop()()
        self.assertEqual(self.successResultOf(done), 3)

    def test_error(self) -> None:
        """It fails with what the function raises."""
        done = self.work("no number")
        self.threads.waiting.pop()()
        self.failureResultOf(done, ValueError)
