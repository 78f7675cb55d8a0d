"""How far a client is on its way to "ready", and who waits for that.

It is told what happened and tells others; it starts nothing. A client goes on trying by itself, so a failure is told
once to those who wait now and kept for those who ask later, until something better happens. Called by routing.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed

from torpydo.client.status import DONE, STARTING, Progress
from torpydo.errors import TorpydoError

ProgressFunction = Callable[[int, str, str], object]
"""Called with percent, tag and summary."""


class Bootstrap:
    """The state of a bootstrap.

    :param tell: told how far it is
    """

    def __init__(self, tell: ProgressFunction | None) -> None:
        self._tell = tell
        self._told: TorpydoError | None = None
        self._waiting: list[Deferred[None]] = []
        self.progress = STARTING
        self.ready = False
        self.reason: TorpydoError | None = None
        """Why it is not ready, as far as is known."""
        self.failed_builds = 0

    def when_ready(self) -> Deferred[None]:
        """Fires when it is ready; fails with the reason why that cannot be, once it is known."""
        if self.ready:
            return succeed(None)
        if self._told is not None:
            return fail(self._told)
        waiter: Deferred[None] = Deferred(self._cancelled)
        self._waiting.append(waiter)
        return waiter

    def _cancelled(self, waiter: Deferred[None]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def reach(self, progress: Progress) -> None:
        """One step further; the percentage never falls, even if a step is made again."""
        percent = max(progress.percent, self.progress.percent)
        self.progress = Progress(percent, progress.tag, progress.summary)
        if self._tell is not None:
            self._tell(percent, progress.tag, progress.summary)

    def start_over(self) -> None:
        """What was in the way may be gone."""
        self.reason = self._told = None

    def finish(self) -> None:
        """It is ready."""
        self.ready = True
        self.start_over()
        self.reach(DONE)
        while self._waiting:
            self._waiting.pop(0).callback(None)

    def fail(self, error: TorpydoError) -> None:
        """It will not get ready for now: whoever waits hears why."""
        self.reason = self._told = error
        while self._waiting:
            self._waiting.pop(0).errback(error)
