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
from torpydo.tpdp import BUFFER_HIGH

__all__ = ["Congestion", "HoldingCircuit", "share_of"]

SWEEP: Final = 1.0
"""Seconds between two looks while something waits."""
SENDERS: Final = 1 / 8
"""The part of the memory in which applications that send all at once share: many of them wait in small pieces, for they
can be told to stop, and none of their circuits need end."""
LEAST: Final = 4096
"""Bytes that each of them has at the least."""


def share_of(most: int, senders: int) -> int:
    """Bytes that may wait of one of so many who send.

    :param most: bytes that may wait in all, the ``memory`` limit
    """
    return max(LEAST, min(BUFFER_HIGH, int(most * SENDERS) // max(senders, 1)))


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
        self.streams = 0
        """Streams that are open on all circuits."""
        self._next: IDelayedCall | None = None

    @property
    def queued(self) -> int:
        """Bytes that wait."""
        return self._waiting.queued

    @property
    def buffer_high(self) -> int:
        """Bytes that may wait in one stream before who sends there is to pause."""
        return share_of(self._waiting.most, self.streams)

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
