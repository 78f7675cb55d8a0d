"""What a node looks after once a second: memory, links that nobody needs, file descriptors. Called by router."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.net import LinkProtocol
from torpydo.node.bounds import Bounds
from torpydo.node.circuit import RoutedCircuit
from torpydo.node.exits import Exits
from torpydo.node.exitstream import ExitStream
from torpydo.node.limits import CACHE_HIGH, CACHE_LOW
from torpydo.node.neighbours import Neighbours
from torpydo.node.refusal import NodeRefusal
from torpydo.node.relief import relieve

__all__ = ["Upkeep"]

LOOK: Final = 1.0
"""Seconds between two looks."""


class Upkeep:
    """Looks from :meth:`start` to :meth:`stop`.

    :param end: ends a circuit, for that reason
    :param randbelow: chooses between hosts that have the same number of links
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        bounds: Bounds,
        exits: Exits,
        neighbours: Neighbours,
        *,
        end: Callable[[RoutedCircuit, NodeRefusal], None],
        randbelow: Callable[[int], int],
    ) -> None:
        self._reactor = reactor
        self._bounds = bounds
        self._exits = exits
        self._neighbours = neighbours
        self._end = end
        self._randbelow = randbelow
        self._looker = LoopingCall(self._look)
        self._looker.clock = reactor

    def start(self) -> None:
        """Begin."""
        self._looker.start(LOOK, now=False).addErrback(self._broke)

    def stop(self) -> None:
        """End. Twice does no harm."""
        if self._looker.running:
            self._looker.stop()

    def _look(self) -> None:
        self._look_at_memory()
        self._neighbours.look()
        relieve(self._neighbours, self._bounds, self._reactor.seconds(), self._randbelow)

    def _look_at_memory(self) -> None:
        """Above the cap, cut first what is only remembered, then end what keeps the oldest bytes (SECURITY F6)."""
        resolver, waiting = self._exits.resolver, self._bounds.waiting
        for neighbour in self._neighbours:
            if neighbour.link.queued:
                waiting.note(neighbour.link)
        if resolver.held > waiting.most * CACHE_HIGH and waiting.queued + resolver.held > waiting.most:
            resolver.cut(int(waiting.most * CACHE_LOW))
        for victim in waiting.sweep(beside=resolver.held):
            if isinstance(victim, RoutedCircuit):
                self._end(victim, NodeRefusal.MEMORY)
            elif isinstance(victim, ExitStream):
                self._exits.cut(victim)
            elif isinstance(victim, LinkProtocol):
                self._close(victim)

    def _close(self, link: LinkProtocol) -> None:
        neighbour = self._neighbours.get(link)
        if neighbour is not None:
            self._neighbours.abort(neighbour, NodeRefusal.LINKS_FOR_MEMORY)

    def _broke(self, failure: Failure) -> None:
        # A loop ends with the first error; a node that never frees anything any more would be worse than a line.
        self.log.failure("a look at the node failed, and the looks go on", failure)
        self.start()
