"""Which node stands second in a circuit for a conversation: one of the vanguards, and what to do where none can.

Who the vanguards are is directory's (``VanguardSet``); this adds their file and the order in which they are tried.
Called by paths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from torpydo.client.keptfile import KeptFile
from torpydo.crypto import NodeId
from torpydo.directory import Descriptor, NetDir, VanguardSet
from torpydo.net import StateDirectory

VANGUARDS_FILE = "vanguards"
LEAST_HOPS = 3
"""Hops from which on a circuit has a place for a vanguard, between the guard and the last node."""

Way = tuple[NodeId | None, frozenset[NodeId]]
"""A node for the second place, ``None`` for any; and those to avoid behind the guard."""
ANY_WAY: Final[Way] = (None, frozenset())


class Vanguards:
    """A client's vanguards.

    :param state: where they survive a restart; ``None`` keeps nothing
    :param wall_clock: seconds since 1970, for their lives
    """

    def __init__(
        self, state: StateDirectory | None, wall_clock: Callable[[], float], randbelow: Callable[[int], int]
    ) -> None:
        self._file = KeptFile(state, VANGUARDS_FILE, "the vanguards", "new vanguards are chosen")
        self._wall_clock = wall_clock
        self._randbelow = randbelow
        self._set = self._file.load(VanguardSet.decode) or VanguardSet()

    def ways(self, netdir: NetDir, guards: Sequence[NodeId], *, own_choice: bool, cautious: bool) -> list[Way]:
        """What to try behind the guard, the best first.

        :param guards: those that circuits begin with, the preferred one first
        :param own_choice: whether the last node may be any
        :param cautious: whether nodes are left out that failed, and there will be another try with them
        """
        used, spares = self._set.order(netdir, guards, self._wall_clock(), self._randbelow)
        self._save()
        avoided: list[frozenset[NodeId]] = [frozenset()]
        if own_choice:
            # What is said at the last node shall not be heard by one that knows where the client is, or nearly. Where
            # there is no other, better a node there that the client has met than a new one behind the guard.
            avoided.insert(0, frozenset((*guards[:1], *self._set.in_use)))
        # Any other node in the second place becomes a spare. Once there are enough of them, those that failed are tried
        # again first: or who can make nodes fail would see new ones behind the guard, one after the other.
        any_node: list[None] = [] if cautious and self._set.is_full else [None]
        return [(second, others) for group in (used, spares, any_node) for others in avoided for second in group]

    def keep(self, path: Sequence[Descriptor]) -> None:
        """A circuit along *path* is going to be built: its second node is a vanguard from now on."""
        self._set.add(path[1].node_id, self._wall_clock(), self._randbelow)
        self._save()

    def _save(self) -> None:
        if self._set.changed and self._file.write(self._set.encode()):
            self._set.changed = False
