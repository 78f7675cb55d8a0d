"""How a node that stops lets go of its circuits: those that nobody uses at once, the others when they fall idle.

A node in the middle does not know about streams: a circuit that has moved nothing for a second counts as idle. The last
hop does know, and waits for those that are open. Called by router.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.task import deferLater

from torpydo.node.circuit import RoutedCircuit

__all__ = ["drain", "stop_time"]

IDLE: Final = 1.0
"""Seconds without a cell after which a circuit is idle."""
LOOK: Final = 0.25
"""Seconds between two looks at them."""
STOP_TIME: Final = 4.0
LEAST_STOP_TIME: Final = 2.0
"""Seconds that links have to send their last DESTROYs: without a drain a stop takes five at the most (SECURITY Z3), and
with the drain that is the default too."""


def stop_time(seconds: float) -> float:
    """Seconds that links have for their last DESTROYs after a drain of so many seconds."""
    return max(STOP_TIME - seconds, LEAST_STOP_TIME)


async def drain(
    reactor: Any, circuits: Mapping[Any, RoutedCircuit], end: Callable[[RoutedCircuit], None], seconds: float
) -> None:
    """End circuits as they fall idle, until none is left or the time is over.

    :param circuits: those that there are; none comes, and those that end leave
    :param end: ends one; others may have their turn before it is gone
    """
    until = reactor.seconds() + seconds
    moved: dict[RoutedCircuit, tuple[int, float]] = {}
    while circuits and reactor.seconds() < until:
        now = reactor.seconds()
        for circuit in dict.fromkeys(circuits.values()):
            so_far = circuit.sent_back + circuit.sent_on
            before, since = moved.get(circuit, (-1, now))
            if before != so_far or circuit.queued:
                moved[circuit] = so_far, now
            elif now - since >= IDLE and not circuit.streams:
                end(circuit)
        await deferLater(reactor, min(LOOK, until - now), lambda: None)
