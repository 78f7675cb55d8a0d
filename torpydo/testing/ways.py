"""Ways: what lies between two addresses, and the bytes that are under way.

A :class:`Pipe` is one direction of one connection; :class:`Ways` knows what each pipe is like. TCP never loses
bytes: a way that is cut holds them back until it is healed (or the sender gives up), and loss means that the
connection is reset. Called by sockets; called by tests to make the weather.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum, auto
from random import Random

import attrs

from torpydo.testing.clock import VirtualClock

GIVE_UP = 924.6
"""Seconds that a sender repeats itself before its connection fails: Linux's default (tcp_retries2 = 15)."""
SEGMENT = 16 * 1024
"""Bytes that hold a line with a rate at a time, so that the connections that share it take turns."""


@attrs.frozen
class Conditions:
    """What a way is like, in one direction."""

    latency: float = 0.0
    """Seconds that a byte is under way."""
    jitter: float = 0.0
    """Up to this many seconds more, at random; bytes still arrive in order."""
    rate: float | None = None
    """Bytes per second; None is without limit. A rate that was set for a host or a pair of hosts is shared by all
    their connections, the default rate belongs to each connection alone."""
    in_flight: int = attrs.field(default=256 * 1024, validator=attrs.validators.ge(1))
    """How many bytes of a connection may be sent and not yet read by the program at the other end: what the kernels
    of both ends would hold. Beyond it the sender's transport keeps its data, and pauses its producer at 64 KiB."""
    loss: float = 0.0
    """The chance that a write resets its connection."""


class Signal(Enum):
    """What travels beside bytes."""

    CONNECT = auto()
    ESTABLISHED = auto()
    REFUSED = auto()
    EOF = auto()
    RESET = auto()


Item = bytes | Signal
Rule = tuple[str | None, str | None]
"""Source and target; None is every address."""


@attrs.define(eq=False)
class Lane:
    """A line that pipes share.

    :ivar free_at: when everything that was handed to it has been transmitted
    """

    free_at: float = 0.0


@attrs.define(eq=False)
class Pipe:
    """One direction of a connection.

    :ivar in_flight: bytes that were sent and not read yet
    :ivar held: whether this one connection was cut, whatever the way is like
    :ivar receive: takes what arrives
    :ivar on_space: told when the program at the other end has read
    :ivar on_loss: told when the connection must be reset
    :ivar on_give_up: told when the sender has repeated itself for too long
    """

    source: str
    target: str
    ways: Ways
    receive: Callable[[Item], None]
    on_space: Callable[[], None]
    on_loss: Callable[[], None]
    on_give_up: Callable[[], None]
    conditions: Conditions = attrs.field(init=False)
    in_flight: int = 0
    held: bool = False
    _lane: Lane = attrs.field(init=False)
    _own_lane: Lane = attrs.Factory(Lane)
    _cut: bool = attrs.field(init=False)
    _slow: bool = attrs.field(init=False)
    _queue: deque[tuple[float, Item]] = attrs.Factory(deque)
    _scheduled: bool = False
    _stalled_since: float | None = None

    def __attrs_post_init__(self) -> None:
        self.refresh()

    def refresh(self) -> None:
        """Learn what the way is like now."""
        self.conditions, shared = self.ways.rule_for(self.source, self.target)
        self._lane = shared or self._own_lane
        self._cut = self.held or self.ways.is_cut(self.source, self.target)
        self._slow = bool(self._cut or self.conditions.latency or self.conditions.jitter or self.conditions.rate)
        if not self._cut:
            self._stalled_since = None
        if self._queue and not self._cut and not self._scheduled:
            self._schedule(max(self._queue[0][0], self.ways.clock.now + self.conditions.latency))

    @property
    def room(self) -> int:
        """How many bytes may be sent now."""
        return self.conditions.in_flight - self.in_flight

    def send(self, item: Item) -> None:
        """Put bytes or a signal on their way."""
        if isinstance(item, bytes):
            self.in_flight += len(item)
            if self.conditions.loss and self.ways.rng.random() < self.conditions.loss:
                self.on_loss()
                return
        if not self._slow and not self._queue:
            self.receive(item)
        elif self.conditions.rate and isinstance(item, bytes):
            for start in range(0, len(item), SEGMENT):
                self._enqueue(item[start : start + SEGMENT])
        else:
            self._enqueue(item)

    def consumed(self, count: int) -> None:
        """The program at the other end has read *count* bytes."""
        self.in_flight -= count
        # Not for every byte: a sender that is woken too early sends crumbs (kernels wait for a third).
        if self.in_flight * 2 <= self.conditions.in_flight:
            self.on_space()

    def drop(self) -> None:
        """Forget what is under way."""
        self._queue.clear()

    def _enqueue(self, item: Item) -> None:
        now = self.ways.clock.now
        leaves = now
        if self.conditions.rate and isinstance(item, bytes):
            leaves = max(now, self._lane.free_at) + len(item) / self.conditions.rate
            self._lane.free_at = leaves
        arrival = leaves + self.conditions.latency
        if self.conditions.jitter:
            arrival += self.ways.rng.uniform(0, self.conditions.jitter)
        self._queue.append((arrival, item))
        if self._cut:
            self._stall()
        elif not self._scheduled:
            self._schedule(self._queue[0][0])

    def _schedule(self, when: float) -> None:
        self._scheduled = True
        self.ways.clock.at(when, self._deliver)

    def _deliver(self) -> None:
        # In the order of sending: nothing overtakes, whatever its own time of arrival would be.
        self._scheduled = False
        if self._cut:
            self._stall()
            return
        now = self.ways.clock.now
        while self._queue and self._queue[0][0] <= now:
            self.receive(self._queue.popleft()[1])
        if self._queue:
            self._schedule(self._queue[0][0])

    def _stall(self) -> None:
        if self._stalled_since is None and self._queue:
            self._stalled_since = self.ways.clock.now
            self.ways.clock.at(self._stalled_since + GIVE_UP, self._give_up)

    def _give_up(self) -> None:
        since = self._stalled_since
        if since is not None and self._queue and self.ways.clock.now >= since + GIVE_UP:
            self._queue.clear()
            self.on_give_up()


@attrs.define(eq=False)
class Ways:
    """What all ways are like. The most special rule counts: both ends, then the source, then the target."""

    clock: VirtualClock
    rng: Random
    default: Conditions = Conditions()
    _rules: dict[Rule, tuple[Conditions, Lane]] = attrs.Factory(dict)
    _cuts: set[Rule] = attrs.Factory(set)
    _unreachable: dict[str, int] = attrs.Factory(dict)
    _pipes: dict[Pipe, None] = attrs.Factory(dict)

    # For tests

    def set(self, conditions: Conditions, source: str | None = None, target: str | None = None) -> None:
        """Change what the way from *source* to *target* is like; what is under way keeps its time of arrival."""
        if source is None and target is None:
            self.default = conditions
        else:
            self._rules[source, target] = (conditions, Lane())
        self._refresh()

    def set_between(self, left: str, right: str, conditions: Conditions) -> None:
        """Change both directions between two addresses."""
        self.set(conditions, left, right)
        self.set(conditions, right, left)

    def cut(self, source: str | None, target: str | None) -> None:
        """Let nothing through from *source* to *target* (None: any address). Nobody is told: a black hole."""
        self._cuts.add((source, target))
        self._refresh()

    def isolate(self, *addresses: str) -> None:
        """Cut these addresses off from everybody."""
        for ip in addresses:
            self.cut(ip, None)
            self.cut(None, ip)

    def partition(self, left: Iterable[str], right: Iterable[str]) -> None:
        """Cut everybody on the left off from everybody on the right."""
        others = tuple(right)
        for one in left:
            for other in others:
                self.cut(one, other)
                self.cut(other, one)

    def heal(self, *addresses: str) -> None:
        """Undo every cut that names one of *addresses*; without any, all of them. What was held back arrives."""
        self._cuts = {rule for rule in self._cuts if addresses and not set(rule) & set(addresses)}
        self._refresh()

    def unreachable(self, ip: str, code: int) -> None:
        """Let connecting to *ip* fail at once with an errno, such as ENETUNREACH; 0 undoes it."""
        self._unreachable[ip] = code

    # For pipes and sockets

    def rule_for(self, source: str, target: str) -> tuple[Conditions, Lane | None]:
        """What the way is like, and the line that it shares with others."""
        for rule in ((source, target), (source, None), (None, target)):
            found = self._rules.get(rule)
            if found is not None:
                return found
        return self.default, None

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing gets through."""
        return bool(self._cuts) and not self._cuts.isdisjoint(((source, target), (source, None), (None, target)))

    def error_for(self, ip: str) -> int:
        """The errno with which connecting fails at once; 0 for none."""
        return self._unreachable.get(ip, 0)

    def watch(self, pipe: Pipe) -> None:
        """Tell *pipe* about changes from now on."""
        self._pipes[pipe] = None

    def forget(self, pipe: Pipe) -> None:
        """Tell *pipe* nothing more."""
        self._pipes.pop(pipe, None)

    def _refresh(self) -> None:
        for pipe in self._pipes:
            pipe.refresh()
