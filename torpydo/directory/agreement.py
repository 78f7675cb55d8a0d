"""How far the pools agree, and whether that is enough to choose a path from (SECURITY P3, N1).

One pool of several cannot add a node, but where others are missing it could hide nodes: with t = 2 of three pools and
one of them down, the nodes in use are those that both of the others list. So the view of a client keeps how much of
what each pool lists can be used, and a path is chosen only if enough of all paths can be. Called by netdir and path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

from torpydo.crypto import PoolId

__all__ = ["POSITIONS", "PoolView", "Share", "path_share", "view_of"]

POSITIONS: Final = 3
"""Guard, middle, exit: a longer path only repeats the middle."""


@attrs.frozen
class Share:
    """Which part of the weight of some nodes can be used.

    :ivar nodes: of all of them
    :ivar exits: of those with an open exit policy
    """

    nodes: float
    exits: float

    def of_paths(self, hops: int) -> float:
        """Which part of all paths can be used: the exit's share, and one for each position before it."""
        return self.exits * self.nodes ** (min(hops, POSITIONS) - 1)


@attrs.frozen
class PoolView:
    """One pool beside the view that all pools together give.

    :ivar pool_id: the pool
    :ivar listed: nodes in its listing, those that could not be used by anybody left out
    :ivar used: how many of them are in the view
    :ivar missing: nodes in the view that it does not list
    :ivar share: which part of what it lists is in the view; only what t pools list is counted if all pools gave a
        listing, everything if some did not
    """

    pool_id: PoolId
    listed: int
    used: int
    missing: int
    share: Share


def view_of(
    pool_id: PoolId,
    listed: Iterable[bytes],
    *,
    weights: Mapping[bytes, int],
    exits: frozenset[bytes],
    used: Mapping[bytes, object],
    counted: frozenset[bytes],
) -> PoolView:
    """Compare one listing with the view.

    :param listed: the ids in the listing
    :param weights: of all nodes that could be used if enough pools listed them
    :param exits: those of them with an open exit policy
    :param used: the nodes of the view
    :param counted: the nodes that a share is taken of
    """
    usable = weights.keys() & listed
    inside = usable & used.keys()
    return PoolView(
        pool_id=pool_id,
        listed=len(usable),
        used=len(inside),
        missing=len(used) - len(inside),
        share=Share(
            _part(inside, usable & counted, weights),
            _part(inside & exits, usable & counted & exits, weights),
        ),
    )


def _part(some: Iterable[bytes], of: Iterable[bytes], weights: Mapping[bytes, int]) -> float:
    whole = sum(weights[raw_id] for raw_id in of)
    return sum(weights[raw_id] for raw_id in some) / whole if whole else 1.0


def path_share(views: Sequence[PoolView], threshold: int, hops: int) -> float:
    """Which part of all paths can be used, as t pools see it.

    It is the t-th best of what the pools say each: so fewer than t pools can neither hide how much is missing nor make
    a client stop by listing nodes that nobody else knows.

    :param threshold: t; not more than there are *views*
    """
    return sorted((view.share.of_paths(hops) for view in views), reverse=True)[threshold - 1]
