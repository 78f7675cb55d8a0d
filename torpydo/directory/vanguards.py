"""Vanguards: the few nodes that stand second in what a client builds for onion services (SECURITY G4).

Whoever talks with a service, or is one, can make the other side build circuits, as many as it likes. Were the node
behind the guard another one each time, one of the attacker's own would soon stand there and see the guard. So these
nodes are few and stay for days, and nobody else can tell when one of them goes. :class:`VanguardSet` is that state; it
decides nothing about failures. Times are seconds since the epoch. Called by the client.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Final, Literal, Self

import attrs
import msgspec

from torpydo.crypto import KEY_SIZE, NodeId, with_hash, without_hash
from torpydo.directory.netdir import NetDir
from torpydo.directory.path import draw_beside
from torpydo.errors import BadKey, StateError

__all__ = ["VanguardSet"]

_DAY: Final = 86_400
IN_USE: Final = 4
"""Vanguards that are used (tor's vanguards-lite: guard-hs-l2-number)."""
MAX_KEPT: Final = 8
"""Those and spares. An attacker who can stop nodes gets no more of them beside the guard than this in a day."""
SHORTEST_LIFE: Final = _DAY
LONGEST_LIFE: Final = 12 * _DAY
"""A life is the longer of two that are drawn from this range: most are long, and still none can be foretold."""
UNLISTED_LIFE: Final = _DAY
"""Seconds for which one that is not listed any more keeps its place: a node that is updated is back soon, and who
stops nodes shall not thereby choose the moment of a new draw."""

_FORMAT: Final = 1
_Time = Annotated[int, msgspec.Meta(ge=0, le=2**43)]
_Key = Annotated[bytes, msgspec.Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]


class _StoredVanguard(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    node_id: _Key
    until: _Time
    unlisted: _Time


class _StoredSet(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    format: Literal[1]
    vanguards: Annotated[tuple[_StoredVanguard, ...], msgspec.Meta(max_length=MAX_KEPT)]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_StoredSet)


@attrs.define(eq=False)
class _Vanguard:
    node_id: NodeId
    until: int
    unlisted: int = 0


@attrs.define(eq=False)
class VanguardSet:
    """A client's vanguards, the oldest first; the first four are in use, the others are spares.

    Save :meth:`encode` when :attr:`changed` is true; it is the caller who sets it back.

    :ivar changed: whether there is something to save
    """

    _vanguards: list[_Vanguard] = attrs.field(factory=list)
    changed: bool = False

    def encode(self) -> bytes:
        """The state as bytes: hash(32) ‖ body."""
        stored = tuple(_StoredVanguard(one.node_id.raw, one.until, one.unlisted) for one in self._vanguards)
        return with_hash(_encoder.encode(_StoredSet(_FORMAT, stored)))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what :meth:`encode` wrote.

        :raises StateError: if it is torn or foreign; put the file aside before making a new set
        """
        try:
            stored = _decoder.decode(without_hash(data))
            vanguards = [_Vanguard(NodeId(one.node_id), one.until, one.unlisted) for one in stored.vanguards]
            if len({one.node_id for one in vanguards}) != len(vanguards):
                raise ValueError("a node is in it twice")
        except (ValueError, RecursionError, BadKey):
            raise StateError("the vanguards are torn or foreign; move them away and new ones will be chosen") from None
        return cls(vanguards)

    @property
    def in_use(self) -> tuple[NodeId, ...]:
        """Those that are used, whether they are listed now or not."""
        return tuple(one.node_id for one in self._vanguards[:IN_USE])

    @property
    def is_full(self) -> bool:
        """Whether no spare can be added."""
        return len(self._vanguards) >= MAX_KEPT

    def order(
        self, netdir: NetDir, guards: Sequence[NodeId], now: float, randbelow: Callable[[int], int]
    ) -> tuple[list[NodeId], list[NodeId]]:
        """The listed vanguards, to be tried in this order: those in use, shuffled, then the spares.

        Missing ones are drawn by weight, so that each may stand in a path with *guards* and with every other vanguard:
        no node keeps company with one of them and so closes the way through all. Where that cannot be, they are fewer.

        :param guards: the nodes that circuits begin with
        """
        self._update(netdir, now)
        while len(self._vanguards) < IN_USE:
            drawn = draw_beside(netdir, [*guards, *(one.node_id for one in self._vanguards)], randbelow)
            if drawn is None:
                break
            self.add(drawn, now, randbelow)
        used = [one.node_id for one in self._vanguards[:IN_USE] if not one.unlisted]
        for place in range(len(used) - 1, 0, -1):
            other = randbelow(place + 1)
            used[place], used[other] = used[other], used[place]
        return used, [one.node_id for one in self._vanguards[IN_USE:] if not one.unlisted]

    def add(self, node_id: NodeId, now: float, randbelow: Callable[[int], int]) -> None:
        """Keep a node as the last of the vanguards, unless it is one or the set is full."""
        if self.is_full or any(one.node_id == node_id for one in self._vanguards):
            return
        lives = [SHORTEST_LIFE + randbelow(LONGEST_LIFE - SHORTEST_LIFE + 1) for _ in range(2)]
        self._vanguards.append(_Vanguard(node_id, max(int(now), 0) + max(lives)))
        self.changed = True

    def _update(self, netdir: NetDir, now: float) -> None:
        """Note who is listed, and drop whose time is over."""
        if not netdir.nodes.listed:
            return  # no listing at all says nothing about any vanguard
        # A clock that was set back makes no life longer.
        latest = max(int(now), 0) + LONGEST_LIFE
        for one in self._vanguards:
            listed = one.node_id.raw in netdir.nodes.listed
            if listed == bool(one.unlisted):
                one.unlisted = 0 if listed else max(int(now), 1)
                self.changed = True
            if one.until > latest:
                one.until = latest
                self.changed = True
        kept = [one for one in self._vanguards if not _is_over(one, now)]
        if len(kept) != len(self._vanguards):
            self._vanguards = kept
            self.changed = True


def _is_over(one: _Vanguard, now: float) -> bool:
    return now >= one.until or (one.unlisted > 0 and now - one.unlisted > UNLISTED_LIFE)
