"""Who may connect, decided before anything is read (SECURITY L5, D1, D4).

An address that connects too fast is refused for a while. Connections whose handshake is not finished are few, and
when there are too many, the oldest of the address with the most makes room: whoever really speaks is done before it
is his turn. What is refused costs no object. Called by :class:`~torpydo.net.LinkFactory`; knows nothing of links but
that they can be aborted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from enum import Enum
from typing import Final, Protocol

import attrs

from torpydo.net.buckets import Buckets, host_key
from torpydo.net.files import FileBudget
from torpydo.tpdp import Address

__all__ = ["Gate", "GateLimits", "GateRefusal"]

KNOWN: Final = 10
"""How many times as much as others a host gets that is known to be a node's."""
PENDING_FILES: Final = 0.25
"""The part of the file descriptors that connections may have whose handshake is not finished."""
MAX_REFUSED: Final = 10_000
"""Hosts that are refused at one time; then the one that has been for the longest is forgotten."""


class GateRefusal(Enum):
    """Why a connection is refused, or aborted before it was ready."""

    CONNECTS_TOO_FAST = "connections from one address, because they came too fast"
    LINKS_PER_HOST = "connections from one address, because it had enough links"
    LINKS_PENDING = "connections in their handshake, the oldest, because there were too many such"
    LINKS_PENDING_PER_HOST = "connections in their handshake, the oldest of one address that had too many such"
    LINKS_UNFINISHED = "connections that ended before their handshake did, or took too long for it"
    FILES = "connections, because no file descriptor was left"


class GateLimits(Protocol):
    """What a gate asks; each may be infinite."""

    @property
    def connects_per_second(self) -> float:
        """Connections that a host may open, as a rate ..."""

    @property
    def connects_burst(self) -> float:
        """... and at once."""

    @property
    def connects_refused(self) -> float:
        """Seconds for which a host is refused that opened more."""

    @property
    def links_per_host(self) -> float:
        """Connections of a host that are open."""

    @property
    def links_pending(self) -> float:
        """Connections whose handshake is not finished."""

    @property
    def links_pending_per_host(self) -> float:
        """The same for one host."""


class Knocking(Protocol):
    """A connection."""

    def abort(self, why: str) -> None:
        """End it at once."""


@attrs.define(eq=False)
class Gate:
    """The gate of a process.

    :param clock: seconds that never go back
    :param limits: gives the limits as they are now
    :param files: the process's file descriptors
    :param refused: told of each refusal
    :param counts_connects: ``False`` if somebody else has counted how fast connections come
    :ivar known: hosts of nodes: somebody else's connections cannot come from there
    :ivar exhausted: called when a connection was refused because no file descriptor was left
    """

    _clock: Callable[[], float]
    _limits: Callable[[], GateLimits]
    _files: FileBudget
    _refused: Callable[[GateRefusal], None]
    _counts_connects: bool = attrs.field(default=True, kw_only=True)
    known: Collection[bytes] = frozenset()
    exhausted: Callable[[], None] = lambda: None
    _connects: dict[int, Buckets] = attrs.field(factory=dict, init=False)
    _refused_until: dict[bytes, float] = attrs.field(factory=dict, init=False)
    _hosts: dict[Knocking, bytes] = attrs.field(factory=dict, init=False)
    _open: dict[bytes, int] = attrs.field(factory=dict, init=False)
    _pending: dict[bytes, dict[Knocking, None]] = attrs.field(factory=dict, init=False)
    _count: int = attrs.field(default=0, init=False)

    @property
    def pending(self) -> int:
        """Connections whose handshake is not finished."""
        return self._count

    # -- Before

    def admits(self, address: Address | None) -> bool:
        """Whether a connection from *address* may be taken; ``None`` is one without an IP address."""
        refusal = None if address is None else self._refusal(host_key(address.ip))
        if refusal is None and not self._files.grant():
            refusal = GateRefusal.FILES
            self.exhausted()
        if refusal is not None:
            self._refused(refusal)
        return refusal is None

    def _refusal(self, host: bytes) -> GateRefusal | None:
        limits = self._limits()
        factor = KNOWN if host in self.known else 1
        if self._counts_connects and self._is_too_fast(host, limits, factor):
            return GateRefusal.CONNECTS_TOO_FAST
        if self._open.get(host, 0) >= limits.links_per_host * factor:
            return GateRefusal.LINKS_PER_HOST
        return None

    def _is_too_fast(self, host: bytes, limits: GateLimits, factor: int) -> bool:
        now = self._clock()
        if math.isinf(limits.connects_burst):
            # Whoever was refused before that was known is not any more.
            return False
        if factor == 1 and now < self._refused_until.get(host, now):
            return True
        if self._buckets(limits, factor).take(host):
            return False
        if factor == 1:
            self._refuse(host, now, now + limits.connects_refused)
        return True

    def _buckets(self, limits: GateLimits, factor: int) -> Buckets:
        rate, burst = limits.connects_per_second * factor, limits.connects_burst * factor
        buckets = self._connects.get(factor)
        if buckets is None or (buckets.rate, buckets.burst) != (rate, burst):
            buckets = self._connects[factor] = Buckets(self._clock, rate, burst)
        return buckets

    def _refuse(self, host: bytes, now: float, until: float) -> None:
        refused = self._refused_until
        if len(refused) >= MAX_REFUSED:
            for other in [other for other, end in refused.items() if end <= now] or [next(iter(refused))]:
                del refused[other]
        # At the end again, if it was there before.
        refused.pop(host, None)
        refused[host] = until

    # -- Meanwhile

    def begun(self, knocking: Knocking, address: Address | None) -> None:
        """A connection that was admitted begins its handshake; another one may have to make room for it."""
        host = b"" if address is None else host_key(address.ip)
        limits = self._limits()
        self._hosts[knocking] = host
        self._open[host] = self._open.get(host, 0) + 1
        self._pending.setdefault(host, {})[knocking] = None
        self._count += 1
        most = limits.links_pending_per_host * (KNOWN if host in self.known else 1)
        if address is not None and len(self._pending[host]) > most:
            self._abort(host, GateRefusal.LINKS_PENDING_PER_HOST)
        elif self._count > min(limits.links_pending, self._files_for_pending()):
            # Of those that have the same number, the host that came first.
            self._abort(max(self._pending, key=lambda one: len(self._pending[one])), GateRefusal.LINKS_PENDING)

    def _files_for_pending(self) -> float:
        """Where file descriptors are few, those that say nothing must not have all of them."""
        return math.inf if self._files.most is None else self._files.most * PENDING_FILES

    def _abort(self, host: bytes, refusal: GateRefusal) -> None:
        """The newest is never the one: it is the last of its host, and the oldest of another host goes before it."""
        oldest = next(iter(self._pending[host]))
        self.ready(oldest)
        self._refused(refusal)
        oldest.abort("others wanted to connect")

    def ready(self, knocking: Knocking) -> None:
        """Its handshake is finished."""
        host = self._hosts.get(knocking)
        pending = None if host is None else self._pending.get(host)
        if host is not None and pending is not None and knocking in pending:
            del pending[knocking]
            self._count -= 1
            if not pending:
                del self._pending[host]

    def closed(self) -> None:
        """A connection that was admitted has given its file descriptor back."""
        self._files.release()

    def gone(self, knocking: Knocking) -> None:
        """It is over; twice does no harm."""
        count = self._count
        self.ready(knocking)
        if self._count != count:
            self._refused(GateRefusal.LINKS_UNFINISHED)
        host = self._hosts.pop(knocking, None)
        if host is not None:
            left = self._open[host] - 1
            if left:
                self._open[host] = left
            else:
                del self._open[host]
