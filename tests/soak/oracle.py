"""What must hold after every fault (SECURITY section 3): everything is as it was, and the network works."""

from __future__ import annotations

from typing import Any

import attrs

from tests.soak.bed import Bed, FaultBroke
from tests.soak.judge import leftovers
from tests.soak.processes import read_process
from tests.soak.samples import Reading

__all__ = ["Oracle", "waiting"]

SETTLE = 60.0
"""Seconds in which counters are at 0, and descriptors and memory back."""
LOOK_AGAIN = 1.0


@attrs.frozen
class Oracle:
    """Compares the network with what it was before.

    :param bed: what the faults have, too
    """

    bed: Bed

    def before(self) -> dict[tuple[str, int], Reading]:
        """How every process is, when nothing goes through the network; by its name and process id."""
        found = {}
        for member in self.bed.network.members:
            reading = read_process(member.pid) if member.is_alive else None
            if reading is not None:
                found[member.name, member.pid] = reading
        return found

    async def after(self, before: dict[tuple[str, int], Reading]) -> list[str]:
        """Wait until everything is as it was.

        :returns: what is not, after a minute
        """
        bed = self.bed
        end = bed.now() + SETTLE * bed.patience
        while True:
            left = await self._left(before)
            if not left or bed.now() > end:
                break
            await bed.pause(LOOK_AGAIN)
        for number in range(len(bed.network.clients)):
            try:
                await bed.honest(number)
            except FaultBroke as error:
                left.append(f"afterwards, by client {number + 1}: {error}")
        return [*bed.network.broken(), *left]

    async def _left(self, before: dict[tuple[str, int], Reading]) -> list[str]:
        network = self.bed.network
        left = []
        for member in network.members:
            reading = read_process(member.pid) if member.is_alive else None
            if reading is None:
                left.append(f"{member.name} does not run")
            # One that was started again is another one.
            elif (member.name, member.pid) in before:
                left += leftovers(member.name, before[member.name, member.pid], reading, network.links)
        for service in (*network.clients, *network.nodes):
            left += waiting(service.name, await network.status(service))
        return left


def waiting(name: str, status: dict[str, Any]) -> list[str]:
    """What goes through a client or a node; idle circuits and links may stay (SECURITY F9).

    :param status: what it shows; empty if it does not answer
    """
    if not status:
        return [f"{name} does not answer"]
    circuits, queued = status["circuits"], status["queued"]
    if isinstance(circuits, list):
        streams, pending = sum(circuit["streams"] for circuit in circuits), 0
    else:
        streams, pending = status["streams"], status["pending"]
    if streams or queued or pending:
        return [f"{name} has {streams} streams, {pending} unfinished links, and {queued} bytes wait"]
    return []
