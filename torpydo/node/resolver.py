"""Names to addresses, for exits: through the reactor's resolver only, bounded in time, number and memory.

What comes out is the outcome itself, addresses or the reason that a client is told; there are no exceptions. A name
is always asked for as absolute, so that neither search domains nor the machine's own host names answer (SECURITY
E5). Called by exits, and by service for ``--advertise``.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IHostResolution, IResolutionReceiver
from zope.interface import implementer

from torpydo.node.limits import DEFAULT_LIMITS, NodeLimits
from torpydo.tpdp import EndReason

__all__ = ["NAME_LIFE", "Asker", "Outcome", "Resolver", "parse_literal"]

NAME_LIFE: Final = 60
"""Seconds that an answer is used, and what clients are told: the system's resolver does not say how long it holds,
and a figure of our own tells nobody when somebody else asked (TROVE-2021-009)."""
FAILURE_LIFE: Final = 10
"""Seconds for which a name that does not resolve is remembered."""
NAME_SIZE: Final = 400
"""Bytes that a remembered name takes, beside itself and ..."""
ADDRESS_SIZE: Final = 64
"""... what each of its addresses does."""
MAX_ADDRESSES: Final = 16
"""Addresses of a name that are kept."""

_NAME: Final = re.compile(r"(?=.{1,253}\.?\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)
# What a resolver would take for an address in one of its older spellings: 2130706433, 0x7f.1.
_NUMERIC: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.ASCII | re.IGNORECASE)

Outcome = tuple[bytes, ...] | EndReason
"""IP addresses, at least one, in the resolver's order; or why there are none."""


def parse_literal(host: str) -> bytes | None:
    """The address that *host* is in its plain spelling, with or without brackets; ``None`` for a name."""
    text = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return None if "%" in text else ip_address(text).packed
    except ValueError:
        return None


@attrs.define(eq=False)
class Asker:
    """A circuit whose streams want names.

    :ivar open: its questions that are not answered, those that nobody waits for any more among them
    """

    open: int = 0


@implementer(IResolutionReceiver)
@attrs.define(eq=False)
class _Try:
    """One question to the reactor's resolver."""

    _done: Callable[[tuple[bytes, ...]], None]
    _found: list[bytes] = attrs.field(factory=list)

    def resolutionBegan(self, resolution: IHostResolution) -> None:
        """It cannot be stopped once it runs: the system's resolver blocks a thread."""

    def addressResolved(self, address: IAddress) -> None:
        """Keep one address."""
        if isinstance(address, IPv4Address | IPv6Address) and len(self._found) < MAX_ADDRESSES:
            ip = parse_literal(address.host.partition("%")[0])
            if ip is not None and ip not in self._found:
                self._found.append(ip)

    def resolutionComplete(self) -> None:
        """That was all."""
        self._done(tuple(self._found))


@attrs.define(eq=False)
class _Lookup:
    """One name that is being asked for, and who waits for it."""

    name: str
    asker: Asker
    waiting: dict[Deferred[Outcome], None] = attrs.field(factory=dict)
    tries: int = 0
    timer: IDelayedCall | None = None


class Resolver:
    """Asks, remembers, and joins those who ask for the same name.

    A question holds a thread and a socket until it is answered, whoever still waits: those are what is bounded.

    :param reactor: has the resolver and the time
    :param randbelow: for the jitter of what is remembered
    :ivar held: bytes of what is remembered, about
    """

    def __init__(
        self, reactor: Any, *, randbelow: Callable[[int], int], limits: NodeLimits = DEFAULT_LIMITS
    ) -> None:
        self.held = 0
        self._reactor = reactor
        self._randbelow = randbelow
        self._limits = limits
        self._open = 0
        self._own = Asker()
        self._known: OrderedDict[str, tuple[float, Outcome]] = OrderedDict()
        self._lookups: dict[str, _Lookup] = {}

    def resolve(self, host: str, asker: Asker | None = None) -> Deferred[Outcome]:
        """The addresses of *host*, a name or an IP literal.

        :param asker: for whom; ``None`` for the node itself, which is never refused
        :return: fires always, within three seconds unless the limits say otherwise; cancellable
        """
        literal = parse_literal(host)
        if literal is not None:
            return succeed((literal,))
        if not _NAME.fullmatch(host) or _NUMERIC.fullmatch(host):
            return succeed(EndReason.RESOLVE_FAILED)
        name = host.lower().rstrip(".")
        known = self._known.get(name)
        if known is not None and self._reactor.seconds() < known[0]:
            return succeed(known[1])
        lookup = self._lookups.get(name)
        if lookup is None:
            if asker is not None and not self._has_room(asker):
                return succeed(EndReason.RESOURCE_LIMIT)
            lookup = self._lookups[name] = _Lookup(name, self._own if asker is None else asker)
        joined = lookup
        waiter: Deferred[Outcome] = Deferred(lambda cancelled: self._forget(joined, waiter))
        lookup.waiting[waiter] = None
        if not lookup.tries:
            self._try(lookup)
        return waiter

    def cut(self, most: int) -> None:
        """Forget names, those that were asked for first, until they take no more than *most* bytes."""
        while self.held > most:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        name, (_, outcome) = self._known.popitem(last=False)
        self.held -= _size(name, outcome)

    def close(self) -> None:
        """Ask for nothing more; who still waits is told that there is no answer."""
        for lookup in list(self._lookups.values()):
            self._finish(lookup, EndReason.RESOLVE_TIMEOUT)

    @staticmethod
    def _forget(lookup: _Lookup, waiter: Deferred[Outcome]) -> None:
        # It is not there any more if it is cancelled by one that was told before it.
        lookup.waiting.pop(waiter, None)

    def _has_room(self, asker: Asker) -> bool:
        """Whether it may ask one more: of what is left nobody gets more than half, so that some is left."""
        return 2 * asker.open < self._limits.lookups - self._open

    def _try(self, lookup: _Lookup) -> None:
        lookup.timer = None
        if lookup.tries == self._limits.lookup_tries or not lookup.waiting:
            self._finish(lookup, EndReason.RESOLVE_TIMEOUT)
            return
        lookup.tries += 1
        lookup.timer = self._reactor.callLater(self._limits.lookup_try, self._try, lookup)
        # The system's resolver is slow to miss a packet that was lost, so it is asked again; but not if all are silent.
        if lookup.tries == 1 or self._has_room(lookup.asker):
            self._ask(lookup)

    def _ask(self, lookup: _Lookup) -> None:
        # "localhost" is the one name that means this machine and not the Internet; policies refuse its address.
        name = lookup.name if lookup.name == "localhost" else f"{lookup.name}."
        self._open += 1
        lookup.asker.open += 1
        receiver = _Try(lambda found: self._answered(lookup, found))
        self._reactor.nameResolver.resolveHostName(receiver, name)

    def _answered(self, lookup: _Lookup, found: tuple[bytes, ...]) -> None:
        self._open -= 1
        lookup.asker.open -= 1
        # The answer to an earlier try may come when nobody waits any more: it is still worth remembering.
        outcome: Outcome = found or EndReason.RESOLVE_FAILED
        life = NAME_LIFE if found else FAILURE_LIFE
        until = self._reactor.seconds() + life - life * self._randbelow(1001) / 4000
        before = self._known.pop(lookup.name, None)
        if before is not None:
            self.held -= _size(lookup.name, before[1])
        self._known[lookup.name] = (until, outcome)
        self.held += _size(lookup.name, outcome)
        if len(self._known) > self._limits.names:
            self._forget_oldest()
        self._finish(lookup, outcome)

    def _finish(self, lookup: _Lookup, outcome: Outcome) -> None:
        if self._lookups.get(lookup.name) is lookup:
            del self._lookups[lookup.name]
        if lookup.timer is not None:
            lookup.timer.cancel()
            lookup.timer = None
        waiting, lookup.waiting = lookup.waiting, {}
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(outcome)


def _size(name: str, outcome: Outcome) -> int:
    """Bytes that a name takes which is remembered, about."""
    return NAME_SIZE + len(name) + (0 if isinstance(outcome, EndReason) else ADDRESS_SIZE * len(outcome))
