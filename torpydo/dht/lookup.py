"""Lookups over paths that share no node: what one liar shows, the others do not believe (docs/protocol-dht, Lookups).

A lookup begins with the contacts closest to its target and deals them out to its paths. Each path asks the closest that
it knows, takes the closer ones that they name, and is over when the *k* closest of its own have all answered or failed.
A node that one path has heard of is no other's any more, so that a liar can lead one path astray and no more
(S/Kademlia, section 4.4). Whatever they name, there is an end to the questions. No I/O: whoever runs it asks what
:meth:`Lookup.questions` gives and tells what came of it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any, Final

import attrs

from torpydo.dht.contacts import ALPHA, PATHS, WIDTH, Contact
from torpydo.dht.items import Item

__all__ = ["HOLDERS", "MOST", "Lookup"]

HOLDERS: Final = 8
"""Nodes that keep an item: the closest to its target. A reader hears all of them that answer, for any may be the only
one with the newest (SECURITY K5)."""
MOST: Final = 400
"""Questions of one lookup; a hundred are usual. Liars could else name everybody who is listed and does not answer."""

_distance: Callable[[Any], int] = itemgetter(0)


@attrs.define(eq=False)
class _Path:
    """One path.

    :ivar known: those that have not failed, with their distances, the closest first
    :ivar open: those who were asked and have not answered
    :ivar slow: those who have had their time to answer, and may yet
    """

    known: list[tuple[int, Contact]] = attrs.field(factory=list)
    open: set[bytes] = attrs.field(factory=set)
    slow: set[bytes] = attrs.field(factory=set)
    answered: dict[bytes, Contact] = attrs.field(factory=dict)
    hops: dict[bytes, int] = attrs.field(factory=dict)


class Lookup:
    """One lookup.

    :param target: 32 bytes
    :param start: the contacts to begin with, the closest first
    :param wants_item: whether it looks for an item, and is over when those were heard that should keep it; otherwise
        for the nodes that are closest
    :param most: questions in all
    :ivar found: the item with the highest sequence so far
    :ivar holders: who has given one
    """

    def __init__(
        self,
        target: bytes,
        start: Sequence[Contact],
        *,
        wants_item: bool = False,
        width: int = WIDTH,
        paths: int = PATHS,
        alpha: int = ALPHA,
        most: int = MOST,
    ) -> None:
        self.target = target
        self._number = int.from_bytes(target, "big")
        self.wants_item = wants_item
        self.found: Item | None = None
        self.holders: dict[bytes, int] = {}
        self.asked = 0
        """Questions so far."""
        self._width = width
        self._alpha = alpha
        self._most = most
        self._paths = [_Path() for _ in range(max(1, min(paths, len(start))))]
        self._of: dict[bytes, _Path] = {}
        for number, contact in enumerate(start):
            self._learn(self._paths[number % len(self._paths)], contact, 1)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to ask and to wait for."""
        if self._heard_all_holders:
            return True
        if any(path.open or path.slow for path in self._paths):
            return False
        return self.asked >= self._most or not any(self._next(path) for path in self._paths)

    @property
    def _heard_all_holders(self) -> bool:
        if not self.wants_item or self.found is None:
            return False
        known = islice(merge(*[path.known for path in self._paths], key=_distance), HOLDERS)
        return all([contact.node_id in self._of[contact.node_id].answered for _, contact in known])

    @property
    def hops(self) -> int:
        """How many steps lay between the start and the closest node that answered."""
        closest = self.closest(1)
        return self._of[closest[0].node_id].hops[closest[0].node_id] if closest else 0

    def questions(self) -> list[Contact]:
        """Whom to ask now; each of them must be reported by :meth:`answered` or :meth:`failed`."""
        if self._heard_all_holders:
            return []
        asked: list[Contact] = []
        for path in self._paths:
            while len(path.open) < self._alpha and self.asked < self._most:
                contact = self._next(path)
                if contact is None:
                    break
                path.open.add(contact.node_id)
                asked.append(contact)
                self.asked += 1
        return asked

    def _next(self, path: _Path) -> Contact | None:
        """The closest of the path's *k* closest that was not asked yet."""
        for _, contact in islice(path.known, self._width):
            node_id = contact.node_id
            if node_id not in path.answered and node_id not in path.open and node_id not in path.slow:
                return contact
        return None

    def _learn(self, path: _Path, contact: Contact, hops: int) -> None:
        if contact.node_id not in self._of:
            self._of[contact.node_id] = path
            insort(path.known, (contact.number ^ self._number, contact), key=_distance)
            path.hops[contact.node_id] = hops

    def answered(self, contact: Contact, contacts: Iterable[Contact], item: Item | None = None) -> None:
        """*contact* has named others, and perhaps given an item, which was checked."""
        path = self._closed(contact)
        path.answered[contact.node_id] = contact
        for one in contacts:
            self._learn(path, one, path.hops[contact.node_id] + 1)
        if item is not None:
            self.holders[contact.node_id] = item.sequence
            if item.replaces(self.found):
                self.found = item

    def slow(self, contact: Contact) -> None:
        """*contact* has not answered yet; another one is asked meanwhile, so that nobody holds a path up."""
        path = self._of[contact.node_id]
        if contact.node_id in path.open:
            path.open.remove(contact.node_id)
            path.slow.add(contact.node_id)

    def failed(self, contact: Contact) -> None:
        """*contact* did not answer, or with something that cannot be used."""
        path = self._closed(contact)
        place = bisect_left(path.known, contact.number ^ self._number, key=_distance)
        if place < len(path.known) and path.known[place][1].node_id == contact.node_id:
            del path.known[place]

    def _closed(self, contact: Contact) -> _Path:
        """The path whose question to *contact* has come to an end."""
        path = self._of[contact.node_id]
        path.open.discard(contact.node_id)
        path.slow.discard(contact.node_id)
        return path

    def closest(self, count: int = WIDTH) -> list[Contact]:
        """The closest that have answered, of all paths, the closest first."""
        found = [contact for path in self._paths for contact in path.answered.values()]
        found.sort(key=lambda contact: contact.number ^ self._number)
        return found[:count]

    def behind(self) -> list[Contact]:
        """Those among the closest that have no item, or an older one than was found: they are to be told."""
        if self.found is None:
            return []
        newest = self.found.sequence
        return [one for one in self.closest(HOLDERS) if self.holders.get(one.node_id, -1) < newest]
