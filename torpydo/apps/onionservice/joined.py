"""A client's circuits to services: one for each name and isolation key, made once however many wait for it.

The making is nobody's in particular: it goes on as long as one is left who waits. What came of it is kept for the
streams that come later, and closed when nobody has used it for a while. Called by connector.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from torpydo.client import Circuit
from torpydo.errors import TorpydoError
from torpydo.onion import OnionName

__all__ = ["JoinedCircuits"]

IDLE: Final = 600.0
"""Seconds without a stream after which a circuit is closed."""
STREAMS: Final = 500
"""Streams on a circuit, after which the next come on another one; the protocol ends at 1000."""
LOOK: Final = 60.0
"""Seconds between two looks whether one is used."""

Key = tuple[OnionName, Hashable]
"""To which service, and for which isolation key."""


@attrs.define(eq=False)
class _Making:
    """A circuit that is being made, and who waits for it."""

    waiting: list[Deferred[Circuit]] = attrs.field(factory=list)
    task: Deferred[Circuit] | None = None


class JoinedCircuits:
    """Those of one client.

    :param make: makes one; cancellable
    :param idle: seconds without a stream after which one is closed
    """

    def __init__(
        self, reactor: Any, make: Callable[[OnionName], Coroutine[Any, Any, Circuit]], idle: float = IDLE
    ) -> None:
        self._reactor = reactor
        self._make = make
        self._idle = idle
        self._open: dict[Key, Circuit] = {}
        # Those that whoever comes may wait for, and all.
        self._making: dict[Key, _Making] = {}
        self._under_way: set[_Making] = set()

    def use(self, name: OnionName, isolation: Hashable) -> Deferred[Circuit]:
        """The circuit, made if there is none.

        :return: cancellable; fails with what making it fails with
        """
        key = (name, isolation)
        circuit = self._open.get(key)
        if circuit is not None and circuit.is_open and circuit.streams < STREAMS:
            return succeed(circuit)
        making = self._making.get(key)
        if making is not None:
            return self._wait(key, making)
        making = self._making[key] = _Making()
        self._under_way.add(making)
        deferred = self._wait(key, making)
        making.task = Deferred.fromCoroutine(self._make(name))
        making.task.addBoth(self._made, key, making)
        return deferred

    def _wait(self, key: Key, making: _Making) -> Deferred[Circuit]:
        deferred: Deferred[Circuit] = Deferred(lambda cancelled: self._leave(key, making, cancelled))
        making.waiting.append(deferred)
        return deferred

    def _leave(self, key: Key, making: _Making, cancelled: Deferred[Circuit]) -> None:
        if cancelled in making.waiting:
            making.waiting.remove(cancelled)
            if not making.waiting and making.task is not None:
                self._forget_making(key, making)
                making.task.cancel()

    def _forget_making(self, key: Key, making: _Making) -> bool:
        """Nobody else is to wait for it; tells whether somebody could have until now."""
        if self._making.get(key) is not making:
            return False
        del self._making[key]
        return True

    def _made(self, result: Circuit | Failure, key: Key, making: _Making) -> None:
        kept = self._forget_making(key, making)
        self._under_way.discard(making)
        if isinstance(result, Failure):
            while making.waiting:
                making.waiting.pop(0).errback(result.value)
            return
        self._watch(key, result, kept)
        while making.waiting:
            making.waiting.pop(0).callback(result)

    def _watch(self, key: Key, circuit: Circuit, kept: bool) -> None:
        timer: IDelayedCall = self._reactor.callLater(min(LOOK, self._idle), lambda: look())
        if kept:
            self._open[key] = circuit

        def look() -> None:
            nonlocal timer
            idle = self._reactor.seconds() - circuit.last_used
            if not circuit.streams and (idle >= self._idle or self._open.get(key) is not circuit):
                circuit.close("nobody used the circuit")
            else:
                timer = self._reactor.callLater(min(LOOK, self._idle), look)

        def closed(ignored: object) -> None:
            self._retire(key, circuit)
            if timer.active():
                timer.cancel()

        circuit.when_closed().addCallback(closed)

    def _retire(self, key: Key, circuit: Circuit) -> None:
        if self._open.get(key) is circuit:
            del self._open[key]

    def avoid(self, name: OnionName, isolation: Hashable, circuit: Circuit) -> None:
        """No new streams on *circuit*: it did not answer one."""
        self._retire((name, isolation), circuit)
        if not circuit.streams:
            circuit.close("the service did not answer on the circuit")

    def close(self, error: TorpydoError) -> None:
        """Whoever waits is told *error*, and what is being made is given up. Open circuits end with the client."""
        self._making.clear()
        for making in list(self._under_way):
            while making.waiting:
                making.waiting.pop(0).errback(error)
            if making.task is not None:
                making.task.cancel()

    def new_identity(self) -> None:
        """Nothing from now on shares a circuit with anything before."""
        self._making.clear()
        before = list(self._open.values())
        self._open.clear()
        for circuit in before:
            if not circuit.streams:
                circuit.close("a new identity was asked for")
