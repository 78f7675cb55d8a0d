"""A proxy that does wrong: it stands before any TCP service, and does to the bytes of each connection what it is told.

The reactor and both endpoints are arguments, so it is the same between processes and in memory. What happens to bytes
is faultline's matter, one connection that of proxied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from torpydo.testing.faultline import RECORD_FAULTS
from torpydo.testing.faults import Fault, FaultError
from torpydo.testing.proxied import ProxiedConnection

CAPACITY: Final = 256 * 1024
"""Bytes that a direction holds before its sender is held up: what the kernels of a connection hold."""


Faults = tuple[Fault, ...]


class _Accepting(Factory):
    noisy = False

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._proxy.accept()


@attrs.define(eq=False)
class FaultProxy:
    """A proxy before one service. Without faults it passes everything on as it is.

    :param reactor: keeps time
    :param listen: where it listens
    :param target: the service
    :param capacity: bytes that each direction of a connection holds before its sender is held up; what is under way on
        a long line counts, too
    :ivar connections: those that are open, by number
    :ivar accepted: how many there were
    :ivar unreached: how often the target could not be connected to
    """

    reactor: Any
    listen: IStreamServerEndpoint
    target: IStreamClientEndpoint
    capacity: int = CAPACITY
    connections: dict[int, ProxiedConnection] = attrs.field(factory=dict, init=False)
    accepted: int = attrs.field(default=0, init=False)
    unreached: int = attrs.field(default=0, init=False)
    _plans: list[tuple[int, Faults, Faults]] = attrs.field(factory=lambda: [(1, (), ())], init=False)
    """From which connection on, and what happens in each direction."""
    _done: Counter[type[Fault]] = attrs.field(factory=Counter, init=False)
    _port: IListeningPort | None = attrs.field(default=None, init=False)
    _ends: dict[int, Deferred[None]] = attrs.field(factory=dict, init=False)

    # -- Start and stop

    def start(self) -> Deferred[IAddress]:
        """Listen; fires with the address."""

        def listening(port: IListeningPort) -> IAddress:
            self._port = port
            address: IAddress = port.getHost()
            return address

        return self.listen.listen(_Accepting(self)).addCallback(listening)

    def refuse(self) -> Deferred[None]:
        """Listen no more, so that whoever connects is refused; :meth:`start` ends it. Open connections stay."""
        port, self._port = self._port, None
        closing = None if port is None else port.stopListening()
        return succeed(None) if closing is None else closing

    def stop(self) -> Deferred[None]:
        """Listen no more and reset every connection; fires when nothing is open."""
        waiting = [self.refuse(), *self._ends.values()]
        for connection in list(self.connections.values()):
            connection.close(reset=True)
        return DeferredList(waiting).addCallback(lambda _: None)

    # -- Faults

    def set(self, to_target: Sequence[Fault] = (), to_source: Sequence[Fault] = (), *, first: int = 1) -> None:
        """Do these faults, and no others, to every connection from number *first* on, open or to come.

        :raises FaultError: for faults of records, which can only be set for a connection whose records are known
        """
        if any(isinstance(fault, RECORD_FAULTS) for fault in (*to_target, *to_source)):
            raise FaultError("set faults of records on a connection, after know()")
        before = [plan for plan in self._plans if plan[0] < first]
        self._plans = [*before, (first, tuple(to_target), tuple(to_source))]
        for number, connection in list(self.connections.items()):
            if number >= first:
                connection.set(to_target, to_source)

    def heal(self) -> None:
        """Do nothing wrong from now on, to any connection."""
        self.set()

    @property
    def done(self) -> Counter[type[Fault]]:
        """How often each kind of fault was done, in all connections together, so that a test can tell that it was."""
        total = Counter(self._done)
        for connection in self.connections.values():
            total += connection.to_target.done + connection.to_source.done
        return total

    # -- Connections

    def plan(self, number: int) -> tuple[Faults, Faults]:
        """What is to happen to a new connection: to what the source sends, and to what the target sends."""
        return next(plan[1:] for plan in reversed(self._plans) if plan[0] <= number)

    def accept(self) -> Protocol:
        """Somebody has connected."""
        self.accepted += 1
        connection = ProxiedConnection(self.accepted, self)
        self.connections[connection.number] = connection
        self._ends[connection.number] = connection.when_over().addCallback(lambda _: self._ended(connection))
        return connection.source

    def _ended(self, connection: ProxiedConnection) -> None:
        del self.connections[connection.number], self._ends[connection.number]
        self._done += connection.to_target.done + connection.to_source.done
