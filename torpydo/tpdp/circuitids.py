"""Which circuit ids are in use on a link (docs/protocol, section Frames; SECURITY L8).

The initiator picks ids with the top bit set, the responder without; each side's rise, so none is used twice. An id is
open until one side destroys its circuit, and is let go when the other side has answered that. Called by link.
"""

from __future__ import annotations

from torpydo.errors import LinkError
from torpydo.tpdp.constants import INITIATOR_BIT, MAX_CLOSING, MAX_UNKNOWN_PER_MINUTE
from torpydo.wire import Malformed


class CircuitIds:
    """The ids of one end of a link.

    :param is_initiator: whether this end picks those with the top bit
    :ivar open: ids whose circuits are open
    """

    __slots__ = ("_closing", "_is_initiator", "_last_by_peer", "_next", "_unknown", "_unknown_since", "open")

    def __init__(self, is_initiator: bool) -> None:
        self.open: set[int] = set()
        self._is_initiator = is_initiator
        self._closing: set[int] = set()
        self._last_by_peer = 0
        self._next = 1
        self._unknown = 0
        self._unknown_since = 0.0

    def is_ours(self, circ_id: int) -> bool:
        """Whether it is one of those that this end picks."""
        return bool(circ_id & INITIATOR_BIT) == self._is_initiator

    def take(self) -> int:
        """A new one; it is open from now on.

        :raises LinkError: when all are used up
        """
        number = self._next
        if number >= INITIATOR_BIT:
            raise LinkError("a link has used up its circuit ids")
        self._next += 1
        circ_id = number | INITIATOR_BIT if self._is_initiator else number
        self.open.add(circ_id)
        return circ_id

    def admit(self, circ_id: int, now: float) -> bool:
        """The peer wants a circuit with this id; tells whether it may. One that does not rise is counted and no more:
        the circuit that has it is not touched.

        :raises Malformed: if the peer breaks the protocol
        """
        if self.is_ours(circ_id):
            raise Malformed("CREATE with an id of the wrong side")
        if circ_id <= self._last_by_peer:
            self._count(now)
            return False
        if len(self._closing) >= MAX_CLOSING:
            raise Malformed("circuits that the peer does not let go")
        self._last_by_peer = circ_id
        self.open.add(circ_id)
        return True

    def strayed(self, circ_id: int, now: float) -> None:
        """A frame came for an id that is not open: normal while its circuit is being destroyed, counted otherwise.

        :raises Malformed: if there are too many
        """
        if circ_id not in self._closing:
            self._count(now)

    def close(self, circ_id: int) -> None:
        """This end destroys the circuit; what still comes for it has crossed our DESTROY."""
        self.open.discard(circ_id)
        self._closing.add(circ_id)

    def let_go(self, circ_id: int) -> None:
        """Nothing more comes for it: the peer has answered, or never heard of it."""
        self.open.discard(circ_id)
        self._closing.discard(circ_id)

    def clear(self) -> None:
        """The link is closed: none is open, and none that was used comes back."""
        self.open.clear()
        self._closing.clear()

    def _count(self, now: float) -> None:
        if now - self._unknown_since >= 60.0:
            self._unknown_since = now
            self._unknown = 0
        self._unknown += 1
        if self._unknown > MAX_UNKNOWN_PER_MINUTE:
            raise Malformed("too many frames for circuits that do not exist")
