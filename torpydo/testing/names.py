"""Name resolution inside a simulation, and a trap for programs that must not resolve at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import attrs
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorTime,
    IResolutionReceiver,
    IResolverSimple,
)
from zope.interface import implementer

from torpydo.net import Resolution
from torpydo.testing.clock import SimulationError


@implementer(IHostnameResolver, IResolverSimple)
@attrs.define(eq=False)
class NameTable:
    """The resolver of one simulated host.

    IP literals are answered without counting as a lookup. A name that is not in the table does not exist.

    :ivar table: name -> IP literals; shared by all hosts of a simulation unless it is replaced
    :ivar lookups: the names that were asked for, in order
    :ivar delay: seconds until an answer comes
    :ivar silent: names that are never answered
    """

    clock: IReactorTime
    table: Mapping[str, Sequence[str]]
    lookups: list[str] = attrs.Factory(list)
    delay: float = 0.0
    silent: set[str] = attrs.Factory(set)
    _forbidden: bool = False

    def forbid(self, forbidden: bool = True) -> None:
        """Let every lookup raise from now on (it is recorded as well): nothing here may resolve names."""
        self._forbidden = forbidden

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """See :class:`IHostnameResolver`."""
        literals = self._look_up(hostName)
        resolution = Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        if hostName not in self.silent:
            types = (IPv4Address, IPv6Address) if addressTypes is None else tuple(addressTypes)
            answer = partial(self._answer, resolution, resolutionReceiver, literals, portNumber, types)
            self.clock.callLater(self.delay, answer)
        return resolution

    def getHostByName(self, name: str, timeout: Sequence[int] = (1, 3, 11, 45)) -> Deferred[str]:
        """See :class:`IResolverSimple`: the first IPv4 address."""
        literals = [literal for literal in self._look_up(name) if isIPAddress(literal)]
        result: Deferred[str] = Deferred(lambda _: call.cancel())
        failure = DNSLookupError(f"{name!r} is not in the table of this simulation")
        if name in self.silent or not literals:
            call = self.clock.callLater(sum(timeout) if name in self.silent else self.delay, result.errback, failure)
        else:
            call = self.clock.callLater(self.delay, result.callback, literals[0])
        return result

    def _look_up(self, name: str) -> Sequence[str]:
        if isIPAddress(name) or isIPv6Address(name):
            return [name]
        self.lookups.append(name)
        if self._forbidden:
            raise SimulationError(f"a lookup of {name!r} where nothing may resolve names")
        return self.table.get(name.lower().rstrip("."), ())

    def _answer(
        self,
        resolution: Resolution,
        receiver: IResolutionReceiver,
        literals: Sequence[str],
        port: int,
        types: Sequence[type[IAddress]],
    ) -> None:
        if resolution.cancelled:
            return
        for literal in literals:
            kind = IPv6Address if ":" in literal else IPv4Address
            if kind in types:
                receiver.addressResolved(kind("TCP", literal, port))
        receiver.resolutionComplete()
