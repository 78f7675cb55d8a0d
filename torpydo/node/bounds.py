"""What bounds a process of a node: limits, file descriptors, what waits, and the count of what was refused. Made by
carrier, handed to whoever has to keep something within bounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, Self

import attrs

from torpydo.net import FileBudget, Holder, Queue, Refusals, Waiting
from torpydo.node.limits import DEFAULT_LIMITS, LimitsInForce, NodeLimits
from torpydo.node.refusal import NodeRefusal

__all__ = ["Bounds", "Keeper"]


class Keeper(Holder, Protocol):
    """What may keep bytes that wait: a circuit, or a stream that has outlived its circuit."""

    def queues(self) -> Iterable[Queue]:
        """Where they wait; the sum of all is ``queued``."""


def _queues(keeper: Keeper) -> Iterable[Queue]:
    return keeper.queues()


@attrs.frozen
class Bounds:
    """The bounds of one process.

    :ivar waiting: all that waits in it
    """

    in_force: LimitsInForce
    files: FileBudget
    refusals: Refusals
    waiting: Waiting[Keeper]

    @classmethod
    def open(cls, reactor: Any, limits: NodeLimits = DEFAULT_LIMITS, files: FileBudget | None = None) -> Self:
        """Bounds of which nothing is used up yet.

        :param files: without it nobody counts file descriptors
        """
        clock = reactor.seconds
        return cls(
            LimitsInForce(limits),
            FileBudget(clock) if files is None else files,
            Refusals(NodeRefusal, clock),
            Waiting(limits.memory, _queues),
        )

    @property
    def limits(self) -> NodeLimits:
        """The limits as they count now."""
        return self.in_force.now

    def refuse(self, cause: NodeRefusal, count: int = 1) -> None:
        """Something was refused."""
        self.refusals.add(cause, count)
