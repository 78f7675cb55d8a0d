"""Circuits that are being built: how many at once, for whom, for how long, and when to hold back after failures.

::

    pending ──(built)──> the pool            pending, late ──(failed)──> a pause that grows
       └──(its time is over)──> late ──(built)──> measured, and closed

A late one is given up for use and another is begun; it goes on only so that its time is learned. Called by the
circuit pool, which decides what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IProtocol, IProtocolFactory, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.client.buildtimes import LONGEST
from torpydo.client.firstdata import FirstData
from torpydo.client.keeping import KeptTimes
from torpydo.client.limits import ClientLimits
from torpydo.client.paths import Paths, Want
from torpydo.directory import Descriptor
from torpydo.errors import CircuitBuildError, CircuitError, TorpydoError

FIRST_BACKOFF = 0.25
LAST_BACKOFF = 60.0
"""Seconds without new builds after failures in a row: doubled each time."""


class UsableCircuit(Protocol):
    """What the pool and the streams need of a circuit."""

    @property
    def path(self) -> Sequence[Descriptor]:
        """The nodes, the guard first."""

    @property
    def streams(self) -> int:
        """How many are open."""

    @property
    def queued(self) -> int:
        """Bytes that wait in it."""

    @property
    def is_open(self) -> bool:
        """Whether streams can be opened on it now."""

    @property
    def rtt(self) -> float | None:
        """Seconds."""

    def when_closed(self) -> Deferred[Any]:
        """Fires, or fails, once the circuit is gone."""

    def open_stream(
        self, factory: IProtocolFactory, host: str, port: int, *, first_data: bytes | FirstData = b""
    ) -> Deferred[IProtocol]:
        """Open a stream."""

    def resolve(self, host: str) -> Deferred[list[tuple[str, int]]]:
        """Ask the exit for the addresses of a name."""

    def close(self) -> object:
        """End it with all its streams."""


BuildFunction = Callable[[Sequence[Descriptor], Callable[[], None]], Deferred[UsableCircuit]]
"""Builds a circuit along a path; cancellable. Its second argument is to be called when the guard is asked for it."""


@attrs.define(eq=False)
class Build:
    """A circuit that is being built."""

    path: Sequence[Descriptor]
    deferred: Deferred[UsableCircuit] | None = None
    claimed: bool = False
    isolation: Hashable = None
    """Which streams count on it; means nothing while it is not claimed."""
    begun_at: float | None = None
    """When the guard was asked for it."""
    timer: IDelayedCall | None = None

    def is_for(self, want: Want) -> bool:
        """True if a stream that wants *want* counts on this build."""
        return self.claimed and self.isolation == want.isolation and want.fits(self.path)


class Builds:
    """Starts builds and tells what became of them.

    :param build: builds a circuit along a path; cancellable
    :param times: how long builds take; told of each
    :param limits: how many at one time
    :param built: called with each circuit that was built in time
    :param failed: called with each build that failed, and why
    :param resume: called when builds may be missing: after a pause, and when one is given up as late
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        paths: Paths,
        build: BuildFunction,
        randbelow: Callable[[int], int],
        times: KeptTimes,
        *,
        limits: ClientLimits,
        built: Callable[[UsableCircuit], None],
        failed: Callable[[Build, TorpydoError], None],
        resume: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._paths = paths
        self._build = build
        self._randbelow = randbelow
        self._times = times
        self._limits = limits
        self._built_call = built
        self._failed_call = failed
        self._resume_call = resume
        self._pending: list[Build] = []
        self._late: list[Build] = []
        self._backoff: IDelayedCall | None = None
        self.failures = 0
        """Times in a row that builds failed; those that fail together are one."""
        self.last_error: TorpydoError | None = None
        """Why the last of them did; ``None`` after one that was built."""

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def held_back(self) -> bool:
        """True while no new build may be started."""
        return self._backoff is not None or len(self._pending) + len(self._late) >= self._limits.circuits_pending

    @property
    def unclaimed(self) -> int:
        """How many builds nobody counts on."""
        return sum(1 for one in self._pending if not one.claimed)

    def spare(self, want: Want) -> int:
        """How many builds that fit *want* nobody counts on."""
        return sum(1 for one in self._pending if not one.claimed and want.fits(one.path))

    def release(self, wants: Sequence[Want]) -> None:
        """Only streams that want one of *wants* still count on a build."""
        for one in self._pending:
            one.claimed = any(one.is_for(want) for want in wants)

    def claim(self, want: Want) -> bool:
        """Count on a build for *want*; false if there is none for it."""
        free: Build | None = None
        for one in self._pending:
            # The cheap questions first.
            if one.claimed and one.isolation != want.isolation:
                continue
            if not want.fits(one.path) or self._paths.avoids(one.path[-1].node_id, want.port):
                continue
            if one.claimed:
                return True
            free = free or one
        if free is None:
            return False
        free.claimed, free.isolation = True, want.isolation
        return True

    def launch(self, want: Want, *, claimed: bool) -> None:
        """Start a build for *want*.

        :raises PathError: if there is no path for it
        """
        one = Build(self._paths.choose(want), claimed=claimed, isolation=want.isolation)
        self._pending.append(one)
        # Kept before the callbacks are added: a build may be over at once.
        one.deferred = self._build(one.path, lambda: self._begun(one))
        one.deferred.addCallbacks(
            self._built, self._failed, callbackArgs=(one,), errbackArgs=(one,)
        ).addErrback(lambda failure: self.log.failure("a circuit was not taken", failure))

    def cancel(self) -> None:
        """Give up every build."""
        for one in [*self._pending, *self._late]:
            if one.deferred is not None:
                one.deferred.cancel()

    def stop(self) -> None:
        """Give up every build and the wait for the next."""
        if self._backoff is not None:
            self._backoff.cancel()
            self._backoff = None
        self.cancel()
        self._times.save()

    def _begun(self, one: Build) -> None:
        one.begun_at = self._clock.seconds()
        timeout = self._times.known.timeout(len(one.path))
        if timeout < LONGEST:
            one.timer = self._clock.callLater(timeout, self._too_late, one)

    def _too_late(self, one: Build) -> None:
        one.timer = None
        self._pending.remove(one)
        self._late.append(one)
        self._resume_call()

    def _ended(self, one: Build) -> bool:
        """Forget it; gives whether it was late."""
        if one.timer is not None:
            one.timer.cancel()
            one.timer = None
        late = one in self._late
        (self._late if late else self._pending).remove(one)
        return late

    def _built(self, circuit: UsableCircuit, one: Build) -> None:
        late = self._ended(one)
        if one.begun_at is not None:
            self._times.known.built(len(one.path), self._clock.seconds() - one.begun_at, late=late)
            self._times.save_sometimes()
        if late:
            circuit.close()
            return
        self.failures, self.last_error = 0, None
        self._paths.built(one.path)
        self._built_call(circuit)

    def _failed(self, failure: Failure, one: Build) -> None:
        late = self._ended(one)
        if failure.check(CancelledError):
            return
        error = failure.value
        if not isinstance(error, TorpydoError):
            self.log.failure("a circuit could not be built", failure)
            error = CircuitError("a circuit could not be built")
        self.last_error = error
        self._paths.failed(one.path, error, late=late)
        if late and isinstance(error, CircuitBuildError) and error.hop > 1:
            self._times.known.failed(len(one.path))
        if self._backoff is None:
            # Those that fail in a pause belong to it: a guard that is lost takes all of its builds along, and that is
            # no reason to wait as long as after so many attempts (SECURITY section 3, 1: a new circuit within 10 s).
            self.failures += 1
            delay = min(FIRST_BACKOFF * 2.0 ** min(self.failures - 1, 16), LAST_BACKOFF)
            jitter = 0.5 + self._randbelow(1001) / 2000
            self._backoff = self._clock.callLater(delay * jitter, self._resume)
        self._failed_call(one, error)

    def _resume(self) -> None:
        self._backoff = None
        self._resume_call()
