"""Circuits kept ready: built ahead, handed to streams by isolation, retired in time.

    clean ──(first stream)──► dirty ──(10 min, new_identity, no answer)──► retired ──(no stream left)──► closed
      └─────(60 min unused, new_identity)─────────────────────────────────────────────────────────────────►┘

It decides *who* may use a circuit and when one is missing; ``Builds`` starts them, ``Paths`` chooses the nodes.
Called by the streams' attempts and by routing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from torpydo.client.builds import Build, BuildFunction, Builds, UsableCircuit
from torpydo.client.entries import Entry, Waiter
from torpydo.client.keeping import KeptTimes
from torpydo.client.kinds import Kind
from torpydo.client.limits import DEFAULT_LIMITS, ClientLimits
from torpydo.client.paths import Paths, Want
from torpydo.client.refusals import ClientRefusal, RefusedFunction, uncounted
from torpydo.client.status import CircuitStatus
from torpydo.errors import CircuitError, NoExit, PathError, TorpydoError

SPARE = 2
"""Clean circuits kept ready for each kind of exit (SECURITY P4)."""
SWEEP = 15.0
"""Seconds between two looks for circuits whose time is over."""
KIND_LIFE = 3600.0
"""Seconds that a port counts as wanted after its last stream."""
MAX_KINDS = 6
"""Ports for which circuits are built ahead, the last used ones."""
SOON = 60.0
"""Seconds before the end of a circuit's time in which its replacement is built ahead."""
AFTER = 0.02
"""Seconds after a clean circuit was handed out until the next is built: the stream's own bytes go first."""
MAX_FAILURES = 3
"""Builds for a stream that may fail before the stream does."""
MANY_FAILURES = 3
"""Times in a row that builds fail until it is said that no circuit can be had."""
FIRST_PORTS = (443, 80, None)
"""The exits wanted before any stream said so: the first of these that there is. ``None`` is any exit."""
LAST_PAUSE = 600.0
"""Seconds between two early looks at the listings of a network without an exit: doubled each time, from SWEEP on."""


class CircuitPool:
    """Keeps circuits and hands them out.

    :param clock: keeps time
    :param paths: chooses the nodes; without a listing it has none, and everybody waits
    :param build: builds a circuit along a path; cancellable
    :param times: how long builds take
    :param hops: of the circuits built ahead
    :param limits: what it bounds
    :param stale: called when no path can be chosen: a newer listing may help
    :param outcome: called with each built circuit, each failed build's error, and when not even one path is there
    :param refused: told of streams that are given up
    """

    def __init__(
        self,
        clock: IReactorTime,
        paths: Paths,
        build: BuildFunction,
        randbelow: Callable[[int], int],
        times: KeptTimes,
        *,
        hops: int = 3,
        limits: ClientLimits = DEFAULT_LIMITS,
        stale: Callable[[], None],
        outcome: Callable[[UsableCircuit | TorpydoError], None],
        refused: RefusedFunction = uncounted,
    ) -> None:
        self._clock = clock
        self._paths = paths
        self._hops = hops
        self._limits = limits
        self._stale = stale
        self._outcome = outcome
        self._refused = refused
        self._entries: list[Entry] = []
        self._waiters: dict[Waiter, None] = {}
        self._kinds: dict[tuple[int, int | None], Kind] = {}
        self._look_at, self._pause = 0.0, SWEEP
        self._sweeper: IDelayedCall | None = None
        self._worker: IDelayedCall | None = None
        self._closed = False
        self._builds = Builds(
            clock, paths, build, randbelow, times, limits=limits,
            built=self._built, failed=self._build_failed, resume=self.work,
        )

    # -- A stream wants a circuit

    def use(self, want: Want) -> Deferred[UsableCircuit]:
        """A circuit for *want*; it belongs to the isolation key of *want* from now on.

        :return: cancellable; fails with :class:`PathError`, :class:`CircuitBuildError` or :class:`CircuitError`
        """
        if self._closed:
            return fail(CircuitError("the client is closed"))
        self._note_kind(want)
        # Those who wait were served as soon as there was anything for them, so nobody is overtaken here.
        entry = self._find(want)
        if entry is not None:
            if self._take(entry, want) and self._worker is None:
                self._worker = self._clock.callLater(AFTER, self._work_later)
            return succeed(entry.circuit)
        deferred: Deferred[UsableCircuit] = Deferred(lambda cancelled: self._leave(waiter))
        waiter = Waiter(want, deferred, self._clock.callLater(self._limits.stream_wait, lambda: self._give_up(waiter)))
        self._waiters[waiter] = None
        if self._can_work:
            # The others were seen to when they came: a thousand may come in a moment.
            self._start([waiter])
            self._build_ahead()
        return deferred

    def _note_kind(self, want: Want) -> None:
        now = self._clock.seconds()
        kind = self._kinds.get((want.hops, want.port))
        if kind is None:
            self._kinds[want.hops, want.port] = Kind(now)
        else:
            kind.last = now

    def _take(self, entry: Entry, want: Want) -> bool:
        """*entry* is for *want* now; tells whether it was clean before."""
        if entry.dirty_since is not None:
            return False
        entry.dirty_since = now = self._clock.seconds()
        entry.isolation = want.isolation
        kind = self._kinds.get((want.hops, want.port))
        if kind is not None:
            kind.taken.append(now)
        return True

    def _work_later(self) -> None:
        self._worker = None
        self.work()

    def avoid(self, circuit: UsableCircuit) -> None:
        """No new streams on *circuit*: it did not answer one in time."""
        self.lost(circuit)
        self._sweep()

    def lost(self, circuit: UsableCircuit) -> None:
        """*circuit* is gone. A stream may hear of that before the pool does."""
        for entry in self._entries:
            if entry.circuit is circuit:
                entry.retired = True

    def refused(self, circuit: UsableCircuit, port: int | None) -> None:
        """The exit of *circuit* refused *port* by its policy."""
        if port is not None:
            self._paths.refused(circuit.path[-1].node_id, port)

    def new_identity(self) -> None:
        """Nothing from now on shares a circuit with anything before."""
        for entry in self._entries:
            entry.retired = True
        self._builds.cancel()
        self._sweep()
        self.work()

    def _leave(self, waiter: Waiter) -> None:
        self._waiters.pop(waiter, None)
        if waiter.timer.active():
            waiter.timer.cancel()

    def _give_up(self, waiter: Waiter) -> None:
        self._refused(ClientRefusal.STREAM_WAIT, 1)
        self._fail(waiter, CircuitError(f"no circuit was ready within {self._limits.stream_wait:.0f} s; try again"))

    def _fail(self, waiter: Waiter, error: TorpydoError) -> None:
        self._leave(waiter)
        waiter.deferred.errback(error)

    def _serve(self) -> None:
        """Give what is there to who waits, first come first served."""
        nothing: set[Want] = set()
        for waiter in list(self._waiters):
            # Many wait for the same; and an earlier one's callback may have done anything: look whether this one waits.
            if waiter.want in nothing or waiter not in self._waiters:
                continue
            entry = self._find(waiter.want)
            if entry is None:
                nothing.add(waiter.want)
                continue
            self._take(entry, waiter.want)
            self._leave(waiter)
            waiter.deferred.callback(entry.circuit)

    def _find(self, want: Want) -> Entry | None:
        now = self._clock.seconds()
        clean: Entry | None = None
        for entry in self._entries:
            # The cheap questions first: there may be many circuits, and this is asked for every stream.
            if entry.dirty_since is None:
                if clean is None and self._serves(entry, want):
                    clean = entry
            elif (
                entry.isolation == want.isolation
                and now - entry.dirty_since < self._limits.circuit_dirty_life
                and self._serves(entry, want)
                and entry.circuit.streams < self._limits.streams_per_circuit
            ):
                return entry
        return clean

    def _serves(self, entry: Entry, want: Want) -> bool:
        if entry.retired or not entry.circuit.is_open:
            return False
        path = entry.circuit.path
        return want.fits(path) and not self._paths.avoids(path[-1].node_id, want.port)

    # -- What is missing

    def work(self) -> None:
        """Start the builds that are missing: for who waits, then ahead."""
        if not self._can_work:
            return
        if self._sweeper is None:
            self._sweeper = self._clock.callLater(SWEEP, self._sweep_again)
        self._builds.release(list(dict.fromkeys(waiter.want for waiter in self._waiters)))
        self._start(list(self._waiters))
        self._build_ahead()

    @property
    def _can_work(self) -> bool:
        return not self._closed and self._paths.netdir is not None

    def _start(self, waiters: Sequence[Waiter]) -> None:
        """Start the builds that are missing for them."""
        seen: set[Want] = set()
        for waiter in waiters:
            # Those who want the same count on the same build.
            if waiter.want in seen or waiter not in self._waiters:
                continue
            if self._builds.claim(waiter.want) or self._builds.held_back:
                seen.add(waiter.want)
                continue
            try:
                self._builds.launch(waiter.want, claimed=True)
            except PathError as error:
                self._fail(waiter, error)
                self._stale()

    def _build_ahead(self) -> None:
        """Keep clean circuits for each kind of exit wanted in the last hour: SPARE, or as many as were used lately."""
        now = self._clock.seconds()
        recent = sorted(self._kinds.items(), key=lambda item: -item[1].last)[:MAX_KINDS]
        self._kinds = {name: kind for name, kind in recent if now - kind.last < KIND_LIFE}
        if self._kinds:
            for (hops, port), kind in list(self._kinds.items()):
                want = Want("", port, hops)
                self._build_kind(want, max(SPARE, kind.demand(now) + self._ending(want, now)))
            return
        error: PathError | None = None
        for port in FIRST_PORTS:
            error = self._build_kind(Want("", port, self._hops), SPARE)
            if error is None:
                self._look_at, self._pause = 0.0, SWEEP
                return
        if error is not None and not self._entries and not self._builds:
            self._outcome(error)
            # A network may have no exit at all for years, or none for a moment: it is asked less and less often.
            if not isinstance(error, NoExit):
                self._stale()
            elif now >= self._look_at:
                self._look_at, self._pause = now + self._pause, min(2 * self._pause, LAST_PAUSE)
                self._stale()

    def _ending(self, want: Want, now: float) -> int:
        """Circuits in use that take no more streams soon: their applications will want as many others."""
        life = self._limits.circuit_dirty_life
        return sum(
            1
            for entry in self._entries
            if entry.dirty_since is not None
            and not entry.retired
            and life - SOON <= now - entry.dirty_since < life
            and entry.circuit.streams
            and want.fits(entry.circuit.path)
        )

    def _build_kind(self, want: Want, wanted: int) -> PathError | None:
        if self._builds.failures:
            # While builds fail, one at a time is enough to learn that they work again.
            wanted = 1
        clean = [entry for entry in self._entries if entry.is_clean]
        fitting = sum(1 for entry in clean if want.fits(entry.circuit.path))
        for _ in range(wanted - fitting - self._builds.spare(want)):
            if self._builds.held_back or len(clean) + self._builds.unclaimed >= self._limits.circuits_clean:
                break
            try:
                self._builds.launch(want, claimed=False)
            except PathError as error:
                return error
        return None

    def _built(self, circuit: UsableCircuit) -> None:
        if self._closed:
            circuit.close()
            return
        entry = Entry(circuit, self._clock.seconds())
        self._entries.append(entry)
        circuit.when_closed().addBoth(lambda ignored: self._gone(entry))
        self._outcome(circuit)
        self._serve()
        self.work()

    def _build_failed(self, build: Build, error: TorpydoError) -> None:
        if self._closed:
            return
        for waiter in list(self._waiters):
            if waiter in self._waiters and build.is_for(waiter.want):
                waiter.failures += 1
                if waiter.failures >= MAX_FAILURES:
                    self._fail(waiter, error)
        self._outcome(error)

    # -- The end of circuits

    def _gone(self, entry: Entry) -> None:
        if entry in self._entries:
            self._entries.remove(entry)
            self.work()

    def _sweep_again(self) -> None:
        self._sweeper = None
        self._sweep()
        self.work()

    def _sweep(self) -> None:
        now = self._clock.seconds()
        for entry in list(self._entries):
            if entry.dirty_since is None:
                entry.retired = entry.retired or now - entry.built_at >= self._limits.circuit_clean_life
            elif now - entry.dirty_since >= self._limits.circuit_dirty_life:
                entry.retired = True
            if entry.retired and not entry.circuit.streams:
                entry.circuit.close()

    def close(self) -> None:
        """End all circuits, builds and waits."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        if self._worker is not None:
            self._worker.cancel()
            self._worker = None
        for waiter in list(self._waiters):
            if waiter in self._waiters:
                self._fail(waiter, CircuitError("the client was closed"))
        self._builds.stop()
        for entry in list(self._entries):
            entry.circuit.close()

    @property
    def is_closed(self) -> bool:
        """Whether no circuit can be had any more."""
        return self._closed

    @property
    def pending(self) -> int:
        """Circuits that are being built."""
        return len(self._builds)

    @property
    def trouble(self) -> TorpydoError | None:
        """Why no circuit can be had, as far as the builds tell: none is open, and several in a row have failed."""
        if self._builds.failures < MANY_FAILURES or any(entry.circuit.is_open for entry in self._entries):
            return None
        return self._builds.last_error

    def status(self) -> tuple[CircuitStatus, ...]:
        """All circuits that are built."""
        now = self._clock.seconds()
        return tuple(
            CircuitStatus(
                tuple(node.name for node in entry.circuit.path),
                entry.circuit.streams,
                now - entry.built_at,
                entry.dirty_since is None,
                entry.circuit.rtt,
                entry.circuit.queued,
            )
            for entry in self._entries
        )
