"""What people should know of their pools: said in the log when it begins, and shown in the status while it lasts.

A pool that leaves nodes out, a listing that has expired, a single pool that decides alone: nothing here is an error,
and nothing changes because of it. Called by listings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from twisted.logger import Logger

from torpydo.directory import GRACE, NetDir, PoolView
from torpydo.net.listedpool import ListedPool, describe_skew

__all__ = ["Remarks"]

WORTH_TELLING: Final = 0.25
"""The part of the nodes, missing or unknown to others, from which on a pool is named."""
FEW: Final = 3
"""Nodes below which it is not: nodes come and go between two listings."""


class Remarks:
    """The remarks on some pools.

    :ivar texts: those that hold now
    """

    log = Logger()

    def __init__(self) -> None:
        self.texts: tuple[str, ...] = ()
        self._said: set[tuple[str, str]] = set()

    def update(self, pools: Sequence[ListedPool], netdir: NetDir, now: float) -> None:
        """Look at everything again; what is new is said."""
        found = dict(_single(netdir))
        for pool in pools:
            found.update(_expired(pool, now))
            found.update(_skewed(pool))
            view = next((view for view in netdir.pools if view.pool_id == pool.pool_id), None)
            if view is not None:
                found.update(_disagreement(pool, view, netdir))
        for kind, text in found.items():
            if kind not in self._said:
                self.log.warn("{remark}", remark=text)
        self._said = set(found)
        self.texts = tuple(found.values())


Remark = tuple[tuple[str, str], str]
"""Its kind and the pool, by which it is recognised, and the sentence."""


def _single(netdir: NetDir) -> Iterator[Remark]:
    if netdir.threshold > 1 or netdir.test_network:
        return
    if netdir.configured == 1:
        yield ("single", ""), "there is one pool: it alone decides which nodes are used; three are better"
    else:
        yield ("single", ""), f"the threshold is 1: each of {netdir.configured} pools alone can add nodes"


def _expired(pool: ListedPool, now: float) -> Iterator[Remark]:
    listing = pool.usable
    if listing is None or not listing.is_expired(now) or not listing.is_usable(now):
        return
    age, left = (now - listing.valid_until) / 3600, (listing.valid_until + GRACE - now) / 3600
    text = f"the listing of pool {pool.name} expired {age:.1f} h ago; until a new one comes"
    yield ("expired", pool.name), f"{text} it is used, but not for more than {left:.1f} h"


def _skewed(pool: ListedPool) -> Iterator[Remark]:
    # A larger one is an error of the pool.
    if not pool.is_off and (text := describe_skew(pool.skew)):
        yield ("skew", pool.name), f"the listing of pool {pool.name} is not fresh{text}"


def _disagreement(pool: ListedPool, view: PoolView, netdir: NetDir) -> Iterator[Remark]:
    nodes, alone = len(netdir.nodes), view.listed - view.used
    if view.missing > max(FEW, nodes * WORTH_TELLING):
        text = f"pool {pool.name} does not list {view.missing} of the {nodes} nodes that enough pools list"
        yield ("missing", pool.name), text
    if alone > max(FEW, view.listed * WORTH_TELLING):
        text = f"pool {pool.name} lists {alone} nodes that too few other pools list; they are not used"
        yield ("alone", pool.name), text
