"""What waits in a client, and which circuits end when it is too much (SECURITY F6, F9).

What waits: bytes for an application that does not read, bytes of one that writes faster than its circuit sends, and
cells for a link that does not take them. While no circuit says that something waits nothing happens at all. Called by
circuits.
"""

from __future__ import annotations

from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from torpydo.client.refusals import ClientRefusal, RefusedFunction, uncounted
from torpydo.net import Holder, Waiting

__all__ = ["Congestion", "HoldingCircuit"]

SWEEP: Final = 1.0
"""Seconds between two looks while something waits."""


class HoldingCircuit(Holder, Protocol):
    """A circuit, as far as its memory goes."""

    def close(self, why: str) -> object:
        """End it."""


class Congestion:
    """Looks now and then, while something waits.

    :param most: bytes above which circuits end
    :param refused: told of circuits that were closed
    """

    def __init__(self, clock: IReactorTime, most: int, refused: RefusedFunction = uncounted) -> None:
        self._clock = clock
        self._refused = refused
        self._waiting: Waiting[HoldingCircuit] = Waiting(most)
        self._next: IDelayedCall | None = None

    @property
    def queued(self) -> int:
        """Bytes that wait."""
        return self._waiting.queued

    def note(self, circuit: HoldingCircuit) -> None:
        """Something waits in *circuit*."""
        self._waiting.note(circuit)
        if self._next is None:
            self._next = self._clock.callLater(SWEEP, self._sweep)

    def forget(self, circuit: HoldingCircuit) -> None:
        """*circuit* is gone."""
        self._waiting.forget(circuit)
        if not self._waiting and self._next is not None:
            self._next.cancel()
            self._next = None

    def _sweep(self) -> None:
        victims = self._waiting.sweep()
        self._next = self._clock.callLater(SWEEP, self._sweep) if self._waiting else None
        if victims:
            self._refused(ClientRefusal.MEMORY, len(victims))
        for circuit in victims:
            circuit.close("too much was waiting for applications that do not read, or for the network")
