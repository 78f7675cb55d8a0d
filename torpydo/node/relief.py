"""Which links are closed when file descriptors run out (SECURITY D4). Called by router.

First those that nobody uses, the longest unused first; then those that this node has opened to where no node is known,
for one circuit each; then the newest of the address with the most, and if all have the same number, of any. Nodes keep
theirs: without them there is no network, and they are few.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

from torpydo.node.bounds import Bounds
from torpydo.node.neighbours import Neighbour, Neighbours
from torpydo.node.refusal import NodeRefusal

__all__ = ["relieve"]

JUST_OPENED: Final = 5.0
"""Seconds in which a link without circuits is not idle: its CREATE may be under way."""


def relieve(neighbours: Neighbours, bounds: Bounds, now: float, randbelow: Callable[[int], int]) -> None:
    """Close links until enough file descriptors are free again, or none is left that may be closed."""
    excess = bounds.files.excess
    if not excess:
        return
    idle = [one for one in neighbours if not one.circuits and now - one.idle_since >= JUST_OPENED]
    idle.sort(key=lambda one: one.idle_since)
    victims = (idle + _strangers(neighbours, set(idle)))[:excess]
    if len(victims) < excess:
        victims += _crowding(neighbours, set(victims), excess - len(victims), randbelow)
    for victim in victims:
        neighbours.abort(victim, NodeRefusal.LINKS_FOR_FILES)


def _strangers(neighbours: Neighbours, others: set[Neighbour]) -> list[Neighbour]:
    """Links that this node has opened, but not to a node: those for one circuit first, the newest first."""
    found = [one for one in neighbours if one.dialled and one not in others and not neighbours.is_node(one)]
    return sorted(found, key=lambda one: (one.is_shared, -one.link.core.opened_at))


def _crowding(
    neighbours: Neighbours, others: set[Neighbour], count: int, randbelow: Callable[[int], int]
) -> list[Neighbour]:
    """So many links of clients, each the newest of the host with the most at that moment."""
    hosts: dict[bytes | None, list[Neighbour]] = {}
    for one in neighbours:
        if not one.dialled and one not in others and not neighbours.is_node(one):
            hosts.setdefault(one.host, []).append(one)
    for links in hosts.values():
        links.sort(key=lambda one: one.link.core.opened_at)
    # The place breaks a tie between equal draws: hosts need not be comparable.
    heap = [(-len(links), randbelow(1 << 30), place, links) for place, links in enumerate(hosts.values())]
    heapify(heap)
    victims: list[Neighbour] = []
    while heap and len(victims) < count:
        _, _, place, links = heappop(heap)
        victims.append(links.pop())
        if links:
            heappush(heap, (-len(links), randbelow(1 << 30), place, links))
    return victims
