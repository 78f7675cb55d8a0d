"""Circuits that have lost a side: there may be ten thousand of them at once, and others must not feel it (SECURITY D3).

When a link closes, its circuits leave the router's table at once, so that nothing of theirs is passed on any more. What
is left to do for each (DESTROY to the other side, streams, accounts) is done in slices, between which cells of other
circuits flow; a circuit counts as open until it is its turn. Called by router, which also does that work.

A peer that destroys its circuits one by one is served at once, up to the same number in the same time: the next hop
gets a DESTROY for each, and what it has not read yet delays the cells of all others. A node that stops spares nobody:
it has seconds for all of them, and goes on with the next turn of the reactor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater

from torpydo.net import LinkProtocol
from torpydo.node.circuit import RoutedCircuit, Way
from torpydo.node.limits import TEARDOWN_BATCH, TEARDOWN_PAUSE, TEARDOWN_SLICE
from torpydo.node.neighbours import Neighbour

__all__ = ["Teardown"]


@attrs.define(eq=False)
class Teardown:
    """The queue.

    :param reactor: keeps time
    :param circuits: the router's table
    :param lost: told of each circuit, in its turn, on which side the link is gone
    """

    _reactor: Any
    _circuits: dict[tuple[LinkProtocol, int], RoutedCircuit]
    _lost: Callable[[RoutedCircuit, Neighbour], None]
    _waiting: deque[tuple[RoutedCircuit, Neighbour]] = attrs.field(factory=deque)
    _next: IDelayedCall | None = None
    _working: bool = False
    _batch_until: float = 0.0
    _batch: int = 0
    _stopping: bool = False

    def __len__(self) -> int:
        return len(self._waiting)

    def link_gone(self, neighbour: Neighbour) -> None:
        """A link is closed, and each circuit on it has lost that side."""
        for circ_id in neighbour.circuits:
            circuit = self._circuits.get((neighbour.link, circ_id))
            if circuit is not None:
                self._add(circuit, neighbour)
        self._run()

    def destroyed(self, circuit: RoutedCircuit, link: LinkProtocol) -> None:
        """The peer at the other end of *link* has destroyed *circuit*."""
        side = circuit.previous if circuit.previous.link is link else circuit.next
        if side is not None:
            self._add(circuit, side)
            self._run()

    def drop(self, circuit: RoutedCircuit) -> None:
        """This node ends *circuit*; it is not in the table any more, and gone when it is its turn."""
        self._add(circuit, circuit.previous)
        self._run()

    async def all_gone(self, until: float) -> None:
        """The node stops: no circuit is left when this is over, unless it takes longer than *until*."""
        for circuit in list(dict.fromkeys(self._circuits.values())):
            self._add(circuit, circuit.previous)
        self._stopping = True
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._run()
        while self._waiting and self._reactor.seconds() < until:
            await deferLater(self._reactor, 0, lambda: None)

    def _add(self, circuit: RoutedCircuit, neighbour: Neighbour) -> None:
        self._waiting.append((circuit, neighbour))
        if circuit.way is Way.ASKED and neighbour is circuit.next:
            # It lives on without this hop, which had not accepted yet.
            return
        self._circuits.pop((circuit.previous.link, circuit.previous_id), None)
        if circuit.next is not None:
            self._circuits.pop((circuit.next.link, circuit.next_id), None)

    def _run(self) -> None:
        """Do what there is time for, unless the next slice is due anyway: a circuit that ends can end its link."""
        if self._next is None and not self._working:
            self._slice()

    def _slice(self) -> None:
        self._next = None
        self._working = True
        now = self._reactor.seconds()
        if self._stopping or now >= self._batch_until:
            self._batch_until = now + TEARDOWN_PAUSE
            self._batch = 0
        try:
            while self._waiting and self._batch < TEARDOWN_BATCH:
                if self._reactor.seconds() > now + TEARDOWN_SLICE:
                    break
                self._batch += 1
                self._lost(*self._waiting.popleft())
        finally:
            self._working = False
            if self._waiting:
                self._next = self._reactor.callLater(0 if self._stopping else self._batch_until - now, self._slice)
