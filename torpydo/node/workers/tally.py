"""What all workers of a node have counted since its start. Called by supervisor."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from torpydo.node.workers.messages import Status

__all__ = ["Tally"]


@attrs.define(eq=False)
class Tally:
    """Sums of what only grows; see ``NodeStatus``."""

    received: int = 0
    sent: int = 0
    handshakes: int = 0
    circuits_made: int = 0
    refused: dict[str, int] = attrs.field(factory=dict)

    def add(self, other: Status | Tally) -> None:
        """Add what a worker has counted."""
        self.received += other.received
        self.sent += other.sent
        self.handshakes += other.handshakes
        self.circuits_made += other.circuits_made
        self.refuse(other.refused)

    def refuse(self, counts: Mapping[str, int]) -> None:
        """Add refusals by cause."""
        for cause, count in counts.items():
            self.refused[cause] = self.refused.get(cause, 0) + count
