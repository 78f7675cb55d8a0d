"""What a node keeps of one circuit. The core's part is ``transit``; this is where its cells come from and go to."""

from __future__ import annotations

from enum import Enum, auto

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from torpydo.node.exits import ExitStreams
from torpydo.node.neighbours import Neighbour
from torpydo.tpdp import TransitCircuit

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

    @property
    def queued(self) -> int:
        """Bytes that wait in the links and in the streams."""
        waiting = self.previous.link.core.queued(self.previous_id)
        if self.next is not None:
            waiting += self.next.link.core.queued(self.next_id)
        return waiting if self.streams is None else waiting + self.streams.held

    def stop_extending(self) -> None:
        """Wait for no next hop any more."""
        linking, self.linking = self.linking, None
        timer, self.timer = self.timer, None
        if linking is not None:
            linking.cancel()
        if timer is not None:
            timer.cancel()
