"""What a node keeps of one circuit. The core's part is ``transit``; this is where its cells come from and go to."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from torpydo.net import Queue
from torpydo.node.exits import ExitStreams
from torpydo.node.neighbours import Neighbour
from torpydo.tpdp import Introduce1, TransitCircuit

__all__ = ["RoutedCircuit", "Way"]


class Way(Enum):
    """How far this node is with the next hop.

    NONE ── EXTEND ──> LINKING ── link ──> ASKED ── CREATED ──> OPEN; a failure goes back to NONE. Each leads to GONE.
    """

    NONE = auto()
    LINKING = auto()
    ASKED = auto()
    OPEN = auto()
    GONE = auto()


@attrs.define(eq=False, weakref_slot=False)
class RoutedCircuit:
    """A circuit and its neighbours.

    :ivar previous: where it comes from
    :ivar next: where it goes on, as soon as a CREATE was sent
    :ivar linking: the link that the next hop needs
    :ivar timer: for the next hop's answer
    :ivar streams: made for the first stream
    :ivar place: the key or the cookie under which it stands in a table of onion services
    :ivar introduction: what its client wants to have passed on, while that waits
    :ivar partner: the circuit that it is joined with
    :ivar sent_back: bytes of cells that were given to the link to the previous hop so far
    :ivar sent_on: the same for the next hop
    """

    transit: TransitCircuit
    previous: Neighbour
    previous_id: int
    way: Way = Way.NONE
    next: Neighbour | None = None
    next_id: int = 0
    linking: Deferred[None] | None = None
    timer: IDelayedCall | None = None
    streams: ExitStreams | None = None
    place: bytes = b""
    introduction: Introduce1 | None = None
    partner: RoutedCircuit | None = None
    sent_back: int = 0
    sent_on: int = 0

    @property
    def queued(self) -> int:
        """Bytes that wait in the links and in the streams, and for the service of an introduction."""
        waiting = self.previous.link.core.queued(self.previous_id)
        if self.introduction is not None:
            waiting += len(self.introduction.message)
        if self.next is not None:
            waiting += self.next.link.core.queued(self.next_id)
        return waiting if self.streams is None else waiting + self.streams.held

    def queues(self) -> Iterator[Queue]:
        """The same, one by one (``node.Keeper``)."""
        waiting = self.previous.link.core.queued(self.previous_id)
        yield "back", waiting, self.sent_back - waiting
        if self.next is not None:
            waiting = self.next.link.core.queued(self.next_id)
            yield "on", waiting, self.sent_on - waiting
        if self.introduction is not None:
            yield "introduction", len(self.introduction.message), 0
        if self.streams is not None:
            yield from self.streams.queues()

    def stop_extending(self) -> None:
        """Wait for no next hop any more."""
        linking, self.linking = self.linking, None
        timer, self.timer = self.timer, None
        if linking is not None:
            linking.cancel()
        if timer is not None:
            timer.cancel()
