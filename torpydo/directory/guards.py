"""Guards: the few nodes that a client enters through, kept for months (SECURITY G1-G3).

Who changes its first hop often meets an evil one soon. So a client samples some nodes once, uses the first
that answers, comes back to it, and keeps all this on disk. :class:`GuardSample` is that state; it decides
nothing about when to connect. Times are seconds since the epoch. Called by the client.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Annotated, Final, Literal, Self

import attrs
import msgspec

from torpydo.crypto import KEY_SIZE, NodeId, with_hash, without_hash
from torpydo.directory.netdir import NetDir
from torpydo.directory.nodes import Lottery
from torpydo.errors import BadKey, PathError, StateError, TooFewNodes

__all__ = ["GuardBias", "GuardSample"]

_DAY: Final = 86_400
MAX_SAMPLE: Final = 60
"""Guards in the sample, listed or not (tor's guard-max-sample-size)."""
SAMPLE_SHARE: Final = 5
"""One in so many nodes may be in the sample (20 %)."""
PRIMARY: Final = 3
"""Guards that are tried before any other; the first of them is the one in use."""
SAMPLED_LIFE: Final = 120 * _DAY
CONFIRMED_LIFE: Final = 60 * _DAY
"""A guard goes when it was sampled so long ago, unless it was confirmed less than the second time ago."""
UNLISTED_LIFE: Final = 20 * _DAY
"""Seconds after which a guard that is not listed any more goes."""
NETWORK_DOWN: Final = 600
"""Seconds of failures without one success, after which the network is down and not the guards."""
ROUND: Final = 60
"""Seconds in which at most PRIMARY different guards may fail."""
_FIRST_RETRY: Final = 5
_LAST_RETRY: Final = 600
BIAS_CIRCUITS: Final = 150
"""Circuits through a guard before its rate of success says something."""
BIAS_WARN: Final = 0.5
BIAS_STRONG: Final = 0.3
_BIAS_SCALE: Final = 300  # from here on both counters are halved, so that old circuits fade

_FORMAT: Final = 1
_Time = Annotated[int, msgspec.Meta(ge=0, le=2**43)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=_BIAS_SCALE)]
_Key = Annotated[bytes, msgspec.Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]


class _StoredGuard(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    node_id: _Key
    added: _Time
    confirmed: _Time
    unlisted: _Time
    circuits: _Count
    built: _Count


class _StoredSample(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    format: Literal[1]
    guards: Annotated[tuple[_StoredGuard, ...], msgspec.Meta(max_length=MAX_SAMPLE)]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_StoredSample)


@attrs.define(eq=False)
class _Guard:
    """One guard. What concerns failures is forgotten at a restart: the guard is simply tried again."""

    node_id: NodeId
    added: int
    confirmed: int = 0
    unlisted: int = 0
    circuits: int = 0
    built: int = 0
    failures: int = 0
    retry_at: float = 0

    def waits(self, now: float) -> bool:
        """Whether it failed and is not to be tried yet. A clock that was set back does not make it wait for ever."""
        return now < self.retry_at <= now + _LAST_RETRY


@attrs.frozen
class GuardBias:
    """A guard that loses too many circuits: it may be choosing which ones live (SECURITY G3).

    :ivar node_id: the guard
    :ivar rate: share of its circuits that were built
    :ivar strong: whether that is so low that a user should be told in so many words
    """

    node_id: NodeId
    rate: float
    strong: bool


@attrs.define(eq=False)
class GuardSample:
    """A client's guards: the state that makes them sticky.

    After each circuit call :meth:`confirmed` (the first hop answered) or :meth:`failed` (it did not), and
    :meth:`circuit` once a first hop answered and the circuit was built or not. Save :meth:`encode` when
    :attr:`changed` is true; it is the caller who sets it back.

    :ivar changed: whether there is something to save
    """

    _guards: list[_Guard] = attrs.field(factory=list)
    changed: bool = False
    _failing_since: float | None = None
    _round_started: float = 0
    _round_failed: set[bytes] = attrs.field(factory=set)

    def encode(self) -> bytes:
        """The state as bytes: hash(32) ‖ body."""
        stored = tuple(
            _StoredGuard(guard.node_id.raw, guard.added, guard.confirmed, guard.unlisted, guard.circuits, guard.built)
            for guard in self._guards
        )
        return with_hash(_encoder.encode(_StoredSample(_FORMAT, stored)))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what :meth:`encode` wrote.

        :raises StateError: if it is torn or foreign; put the file aside before making a new sample
        """
        try:
            stored = _decoder.decode(without_hash(data))
            guards = [
                _Guard(NodeId(one.node_id), one.added, one.confirmed, one.unlisted, one.circuits, one.built)
                for one in stored.guards
            ]
        except (ValueError, RecursionError, BadKey):
            raise StateError("the guard state is torn or foreign; move it away and new guards will be chosen") from None
        return cls(guards)

    @property
    def node_ids(self) -> tuple[NodeId, ...]:
        """All guards of the sample, in the order in which they are preferred."""
        return tuple(guard.node_id for guard in self._ordered())

    @property
    def primary(self) -> tuple[NodeId, ...]:
        """Those that are tried before any other while they are listed, whether they answer now or not."""
        return tuple(guard.node_id for guard in self._ordered() if not guard.unlisted)[:PRIMARY]

    def choose(self, netdir: NetDir, now: float, randbelow: Callable[[int], int]) -> NodeId:
        """The guard to use now: the first of :meth:`order`."""
        return self.order(netdir, now, randbelow)[0]

    def order(self, netdir: NetDir, now: float, randbelow: Callable[[int], int]) -> tuple[NodeId, ...]:
        """The guards that may be used now, the preferred one first; for ``choose_path(guard=…)``.

        :raises TooFewNodes: if no guard is listed
        :raises PathError: if all of them failed a short while ago
        """
        self._update(netdir, now)
        self._fill(netdir, now, randbelow)
        usable = [guard for guard in self._ordered() if not guard.unlisted]
        if not usable or not netdir.nodes.listed:
            raise TooFewNodes(1, 0, netdir.left_out or "no guard is listed")
        if self._is_down(now):
            usable = usable[:PRIMARY]
        if self._round_is_spent(now):
            usable = [guard for guard in usable if guard.node_id.raw in self._round_failed]
        awake = (guard for guard in usable if not guard.waits(now) and netdir.get(guard.node_id) is not None)
        ready = tuple(guard.node_id for guard in islice(awake, PRIMARY))
        if not ready:
            raise PathError("no guard answered; check the network connection, they will be tried again soon")
        return ready

    def confirmed(self, node_id: NodeId, now: float) -> None:
        """The guard *node_id* answered: a circuit's first hop was built."""
        guard = self._find(node_id)
        if guard is None:
            return
        was_down = self._is_down(now)
        self._failing_since = None
        self._round_failed.clear()
        guard.failures, guard.retry_at = 0, 0
        if was_down:
            # It was the network, so nothing is known against the guards before this one.
            for other in self._ordered()[:PRIMARY]:
                other.failures, other.retry_at = 0, 0
        if not guard.confirmed:
            guard.confirmed = int(now)
            self.changed = True

    def failed(self, node_id: NodeId, now: float) -> None:
        """The guard *node_id* did not answer, or refused; it waits for a time that doubles each time."""
        guard = self._find(node_id)
        if self._failing_since is None:
            self._failing_since = now
        # Several circuits that were being built fail together: that is one failure.
        if guard is None or guard.waits(now):
            return
        if not self._in_round(now):
            self._round_started = now
            self._round_failed.clear()
        self._round_failed.add(node_id.raw)
        guard.retry_at = now + min(_FIRST_RETRY << min(guard.failures, 10), _LAST_RETRY)
        guard.failures += 1

    def circuit(self, node_id: NodeId, built: bool) -> None:
        """Count a circuit whose first hop answered: whether all of it was built (SECURITY G3)."""
        guard = self._find(node_id)
        if guard is None:
            return
        if guard.circuits >= _BIAS_SCALE:
            guard.circuits //= 2
            guard.built //= 2
        guard.circuits += 1
        guard.built += built
        self.changed = True

    def biased(self) -> tuple[GuardBias, ...]:
        """Guards that lose so many circuits that a user should hear of it."""
        return tuple(
            GuardBias(guard.node_id, rate, rate < BIAS_STRONG)
            for guard in self._guards
            if guard.circuits >= BIAS_CIRCUITS and (rate := guard.built / guard.circuits) < BIAS_WARN
        )

    def _find(self, node_id: NodeId) -> _Guard | None:
        return next((guard for guard in self._guards if guard.node_id == node_id), None)

    def _ordered(self) -> list[_Guard]:
        """Confirmed guards in the order of confirmation, then the others in the order of the sample."""
        return sorted(self._guards, key=lambda guard: (not guard.confirmed, guard.confirmed))

    def _is_down(self, now: float) -> bool:
        return self._failing_since is not None and now - self._failing_since >= NETWORK_DOWN

    def _in_round(self, now: float) -> bool:
        return 0 <= now - self._round_started < ROUND

    def _round_is_spent(self, now: float) -> bool:
        return self._in_round(now) and len(self._round_failed) >= PRIMARY

    def _update(self, netdir: NetDir, now: float) -> None:
        """Note who is listed, and drop who has been here, or gone, for too long."""
        if not netdir.nodes.listed:
            return  # no listing at all says nothing about any guard
        for guard in self._guards:
            listed = guard.node_id.raw in netdir.nodes.listed
            if listed == bool(guard.unlisted):
                guard.unlisted = 0 if listed else max(int(now), 1)
                self.changed = True
        kept = [guard for guard in self._guards if not _is_over(guard, now)]
        if len(kept) != len(self._guards):
            self._guards = kept
            self.changed = True

    def _fill(self, netdir: NetDir, now: float, randbelow: Callable[[int], int]) -> None:
        wanted = min(MAX_SAMPLE, max(PRIMARY, len(netdir.nodes.listed) // SAMPLE_SHARE))
        missing = wanted - sum(not guard.unlisted for guard in self._guards)
        if missing <= 0:
            return
        taken = {guard.node_id.raw for guard in self._guards}
        lottery = Lottery.of(node for raw_id, node in netdir.nodes.listed.items() if raw_id not in taken)
        while missing and lottery.nodes:
            node = lottery.draw(randbelow)
            if node.raw_id in taken:
                lottery = Lottery.of(left for left in lottery.nodes if left.raw_id not in taken)
                continue
            taken.add(node.raw_id)
            descriptor = netdir.nodes.open(node)
            if descriptor is not None:
                self._add(descriptor.node_id, now, randbelow)
                missing -= 1

    def _add(self, node_id: NodeId, now: float, randbelow: Callable[[int], int]) -> None:
        if len(self._guards) >= MAX_SAMPLE:
            # Some are unlisted, or there would be enough: the one that has been gone for longest makes room.
            self._guards.remove(min(self._guards, key=lambda guard: guard.unlisted or now + 1))
        # The day is blurred: or all of a client's guards would go on one day, and tell when it began.
        self._guards.append(_Guard(node_id, max(int(now) - randbelow(SAMPLED_LIFE // 10), 0)))
        self.changed = True


def _is_over(guard: _Guard, now: float) -> bool:
    if guard.unlisted and now - guard.unlisted > UNLISTED_LIFE:
        return True
    return now - guard.added > SAMPLED_LIFE and now - guard.confirmed > CONFIRMED_LIFE
