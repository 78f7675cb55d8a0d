"""Virtual time: what is due, in which order, and nothing else.

Everything that happens in a simulation happens in :meth:`VirtualClock.turn`, as in one iteration of a real
reactor: first the timed calls that are due, then the sockets that are ready. What a turn causes for the same
instant happens in the next turn. Order comes from the time, then from a sequence number; a seed may shuffle the
sockets of a turn, so that another seed tries another interleaving and the same seed repeats it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from random import Random
from typing import Any, Protocol

from twisted.internet.base import DelayedCall
from twisted.logger import Logger

from torpydo.errors import TorpydoError

# A turn moves up to 64 KiB on each socket, so 100 MB that are cut into pieces of 1 KiB need 100 000 turns of one
# instant; a protocol that answers itself for ever reaches this in seconds.
MAX_TURNS = 1_000_000

_log = Logger()


class SimulationError(TorpydoError):
    """The simulated network was used wrongly, or would never become quiet."""


def run_guarded(function: Callable[..., object], *args: object, **kwargs: object) -> object:
    """Call *function*; an error is logged (which fails a trial test) and returned, and everything else goes on.

    This is the boundary between the simulation and the code that runs in it, and what a real reactor does there.
    """
    try:
        return function(*args, **kwargs)
    except Exception as error:
        _log.failure("unhandled error in a simulated reactor")
        return error


class Pollable(Protocol):
    """What may be ready: a socket."""

    def poll(self) -> None:
        """Read and write once, if that is possible and wanted."""


class Owner(Protocol):
    """A process that asks for timed calls.

    :ivar alive: whether it still runs
    :ivar frozen: whether it has been stopped for a while
    """

    alive: bool
    frozen: bool


class VirtualCall(DelayedCall):
    """A timed call of one simulated process; it is skipped once that process was killed.

    :ivar owner: the process that asked for the call
    """

    owner: Owner

    def due_some_time(self) -> bool:
        """Whether it is still to be made."""
        return self.active() and self.owner.alive


class VirtualClock:
    """A heap of timed calls and a set of ready sockets.

    :ivar now: virtual seconds since the simulation began
    :param seed: shuffles the order in which sockets of one turn are served; None keeps the order of their events
    """

    def __init__(self, seed: int | None = None) -> None:
        self.now = 0.0
        self.max_turns = MAX_TURNS
        self._rng = None if seed is None else Random(seed)
        self._heap: list[tuple[float, int, VirtualCall | Callable[[], None]]] = []
        self._sequence = 0
        self._cancelled = 0
        self._ready: dict[Pollable, None] = {}
        self._from_threads: deque[Callable[[], object]] = deque()
        self._stopped: list[VirtualCall] = []
        self._turning = False

    def seconds(self) -> float:
        """The virtual time."""
        return self.now

    # What the simulation schedules

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Run *action* at a virtual time; it cannot be cancelled."""
        self._push(when, action)

    def mark(self, pollable: Pollable) -> None:
        """Poll *pollable* in the next turn."""
        self._ready[pollable] = None

    def from_thread(self, action: Callable[[], object]) -> None:
        """Run *action* in the next turn. Safe to call from any thread."""
        self._from_threads.append(action)

    def call_later(
        self,
        delay: float,
        owner: Owner,
        function: Callable[..., Any],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> VirtualCall:
        """Schedule a call that can be cancelled and moved."""
        if not delay >= 0:
            raise ValueError(f"a call cannot be scheduled {delay} seconds from now")
        call = VirtualCall(self.now + delay, function, args, kwargs, self._forget, self._sooner, self.seconds)
        call.owner = owner
        self._push(call.time, call)
        return call

    def delayed_calls(self) -> list[VirtualCall]:
        """The calls that are still to come, in no order."""
        calls = {entry: None for _, _, entry in self._heap if isinstance(entry, VirtualCall)}
        calls.update(dict.fromkeys(self._stopped))
        return [call for call in calls if call.due_some_time()]

    def thaw(self, owner: Owner) -> None:
        """Make the calls of *owner* now whose time has come while it was frozen, in their order."""
        stopped, self._stopped = self._stopped, []
        for call in stopped:
            if call.owner is owner:
                self._push(self.now, call)
            else:
                self._stopped.append(call)

    def _push(self, when: float, entry: VirtualCall | Callable[[], None]) -> None:
        self._sequence += 1
        heappush(self._heap, (when, self._sequence, entry))

    def _forget(self, call: DelayedCall) -> None:
        # Timeouts are mostly cancelled, long before their time: without this the heap would hold them all.
        self._cancelled += 1
        if self._cancelled > 1000 and self._cancelled > len(self._heap) // 2:
            self._cancelled = 0
            # The call that is being cancelled right now still counts as active; it is skipped when its time comes.
            self._heap = [item for item in self._heap if not isinstance(item[2], VirtualCall) or item[2].active()]
            heapify(self._heap)

    def _sooner(self, call: DelayedCall) -> None:
        # The entry for the old time stays in the heap and finds the call already made, or moved.
        assert isinstance(call, VirtualCall)
        self._push(call.time, call)

    # What the test drives

    def next_event(self) -> float | None:
        """When something happens next; None if never."""
        if self._ready or self._from_threads:
            return self.now
        while self._heap:
            when, _, entry = self._heap[0]
            if not isinstance(entry, VirtualCall) or (entry.due_some_time() and entry.getTime() <= when):
                return max(when, self.now)
            heappop(self._heap)
            if entry.due_some_time():
                entry.activate_delay()
                self._push(entry.time, entry)
        return None

    def turn(self) -> bool:
        """Do what is due now, once; tell whether anything was."""
        due: list[VirtualCall | Callable[[], None]] = []
        while self._heap and self._heap[0][0] <= self.now:
            due.append(heappop(self._heap)[2])
        waiting = len(self._from_threads)
        batch = list(self._ready)
        self._ready.clear()
        for _ in range(waiting):
            run_guarded(self._from_threads.popleft())
        for entry in due:
            if isinstance(entry, VirtualCall):
                self._make(entry)
            else:
                entry()
        if self._rng is not None:
            self._rng.shuffle(batch)
        for pollable in batch:
            pollable.poll()
        return bool(due or batch or waiting)

    def _make(self, call: VirtualCall) -> None:
        if not call.due_some_time():
            return
        if call.getTime() > self.now:
            call.activate_delay()
            self._push(call.time, call)
            return
        if call.owner.frozen:
            self._stopped.append(call)
            return
        call.called = 1
        run_guarded(call.func, *call.args, **call.kw)

    def flush(self) -> None:
        """Run until nothing is due at this instant.

        :raises SimulationError: if that never happens
        """
        if self._turning:
            raise SimulationError("the virtual clock was driven from inside a callback that it was running")
        self._turning = True
        try:
            for _ in range(self.max_turns):
                if not self.turn():
                    return
        finally:
            self._turning = False
        raise SimulationError(
            f"after {self.max_turns} turns at {self.now} s there is still work to do, such as {self._example()!r}; "
            "something schedules itself, or answers itself, without delay"
        )

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass, doing everything that falls due, in the order of time."""
        if not seconds >= 0:
            raise ValueError(f"time cannot advance by {seconds} seconds")
        end = self.now + seconds
        self.flush()
        while (when := self.next_event()) is not None and when <= end:
            self.now = when
            self.flush()
        self.now = end

    def _example(self) -> object:
        if self._ready:
            return next(iter(self._ready))
        return self._heap[0][2] if self._heap else None
