"""Which circuits have something waiting, and which of them end when it is too much (SECURITY F6, F9).

What waits: bytes for an application that does not read, bytes of one that writes faster than its circuit sends, and
cells for a link that does not take them. Only circuits that said so are looked at, and while there are none nothing
happens at all. Called by circuits.
"""

from __future__ import annotations

from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["CLIENT_MEMORY", "CLIENT_MEMORY_AFTER", "Congestion", "HoldingCircuit"]

CLIENT_MEMORY: Final = 64 * 1024 * 1024
"""Bytes that wait in a client; above it circuits end, the oldest data first ..."""
CLIENT_MEMORY_AFTER: Final = CLIENT_MEMORY * 9 // 10
"""... until this much is left."""
SWEEP: Final = 1.0
"""Seconds between two looks while something waits."""


class HoldingCircuit(Protocol):
    """A circuit, as far as its memory goes."""

    @property
    def queued(self) -> int:
        """Bytes that wait."""

    def close(self, why: str) -> object:
        """End it."""


class Congestion:
    """The circuits with something waiting, those first that have been waiting longest.

    :param most: bytes above which circuits end
    :param enough: bytes that may be left then
    """

    log = Logger()

    def __init__(
        self, clock: IReactorTime, most: int = CLIENT_MEMORY, enough: int = CLIENT_MEMORY_AFTER
    ) -> None:
        self._clock = clock
        self._most = most
        self._enough = enough
        self._waiting: dict[HoldingCircuit, None] = {}
        self._next: IDelayedCall | None = None

    @property
    def queued(self) -> int:
        """Bytes that wait."""
        return sum([circuit.queued for circuit in self._waiting])

    def note(self, circuit: HoldingCircuit) -> None:
        """Something waits in *circuit*."""
        self._waiting.setdefault(circuit, None)
        if self._next is None:
            self._next = self._clock.callLater(SWEEP, self._sweep)

    def forget(self, circuit: HoldingCircuit) -> None:
        """*circuit* is gone."""
        if self._waiting.pop(circuit, self) is None and not self._waiting:
            self._rest()

    def _rest(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _sweep(self) -> None:
        self._next = None
        sizes = {circuit: circuit.queued for circuit in self._waiting}
        self._waiting = {circuit: None for circuit, size in sizes.items() if size}
        if self._waiting:
            self._next = self._clock.callLater(SWEEP, self._sweep)
        total = sum(sizes.values())
        if total <= self._most:
            return
        victims: list[HoldingCircuit] = []
        for circuit in self._waiting:
            if total <= self._enough:
                break
            total -= sizes[circuit]
            victims.append(circuit)
        self.log.warn("too much was waiting in this client; {count} circuits were closed", count=len(victims))
        for circuit in victims:
            circuit.close("too much was waiting for applications that do not read, or for the network")
