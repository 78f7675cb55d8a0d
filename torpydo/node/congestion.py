"""Which circuits have something waiting, and which of them die when it is too much (SECURITY F6).

Only circuits that have moved bytes since the last look, or still kept some then, are looked at: for all others nothing
waits. Called by router.
"""

from __future__ import annotations

import attrs

from torpydo.node import limits
from torpydo.node.circuit import RoutedCircuit

__all__ = ["Congestion"]


@attrs.define(eq=False)
class Congestion:
    """The circuits, those first that have been waiting longest.

    :param most: bytes above which circuits die
    :param enough: bytes that may be left then
    """

    most: int = limits.NODE_MEMORY
    enough: int = limits.NODE_MEMORY_AFTER
    _waiting: dict[RoutedCircuit, None] = attrs.field(factory=dict)

    @property
    def queued(self) -> int:
        """Bytes that wait."""
        return sum([circuit.queued for circuit in self._waiting])

    def note(self, circuit: RoutedCircuit) -> None:
        """Something waits for *circuit*."""
        self._waiting.setdefault(circuit, None)

    def forget(self, circuit: RoutedCircuit) -> None:
        """*circuit* is gone."""
        self._waiting.pop(circuit, None)

    def sweep(self) -> list[RoutedCircuit]:
        """Forget those for which nothing waits any more.

        :return: the circuits to destroy, usually none
        """
        sizes = {circuit: circuit.queued for circuit in self._waiting}
        self._waiting = {circuit: None for circuit, size in sizes.items() if size}
        total = sum(sizes.values())
        victims: list[RoutedCircuit] = []
        if total > self.most:
            for circuit in self._waiting:
                if total <= self.enough:
                    break
                total -= sizes[circuit]
                victims.append(circuit)
        return victims
