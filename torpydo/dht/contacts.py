"""Nodes as the DHT knows them, and the table of those that one remembers (docs/protocol-dht, Contacts).

A node's place follows from its identity and the stamp that it has worked for (SECURITY K1): nobody chooses one. The
table has a bucket for each number of leading bits that a place has in common with its own, of *k* contacts at the most.
Contacts that have answered for long stay, and newcomers wait (SECURITY K3): who answers today will most likely answer
tomorrow, and a flood of new ones drives nobody out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

import attrs

from torpydo.crypto import Person, blake

__all__ = ["ALPHA", "BITS", "PATHS", "WIDTH", "Contact", "Contacts", "distance", "place_of"]

BITS: Final = 256
WIDTH: Final = 20
"""Contacts in a bucket, and holders of an item: Kademlia's k, a constant of the network (SECURITY K2)."""
ALPHA: Final = 3
"""Questions that a lookup has open at one time on each of its paths (K2)."""
PATHS: Final = 4
"""Paths of a lookup that have no node in common (K2)."""
PER_NETWORK: Final = 2
"""Contacts of one network (an IPv4 /24, an IPv6 /48) in a bucket ..."""
PER_NETWORK_IN_ALL: Final = 10
"""... and in the table (K3)."""
WAITING: Final = 20
"""Newcomers that wait for room in a bucket."""
FAILURES: Final = 2
"""Questions in a row that a contact may leave unanswered."""


def place_of(node_id: bytes, stamp: bytes = b"") -> bytes:
    """Where a node stands, 32 bytes. The proof in its stamp is part of it: nobody knows the place before the work."""
    return blake(node_id + stamp, Person.PLACE)


def distance(one: bytes, other: bytes) -> int:
    """How far two places are from each other."""
    return int.from_bytes(one, "big") ^ int.from_bytes(other, "big")


@attrs.frozen
class Contact:
    """A node that takes part.

    :ivar node_id: its identity, 32 bytes
    :ivar place: where it stands, 32 bytes
    :ivar network: what counts as one operator's addresses; empty where that means nothing
    """

    node_id: bytes
    place: bytes = attrs.field(repr=False, eq=False)
    network: bytes = attrs.field(default=b"", repr=False, eq=False)
    number: int = attrs.field(init=False, repr=False, eq=False)
    """The place as a number."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "number", int.from_bytes(self.place, "big"))


@attrs.define(eq=False)
class _Bucket:
    """Those with so many leading bits in common. The first is the one that was heard of least lately."""

    contacts: dict[bytes, Contact] = attrs.field(factory=dict)
    waiting: dict[bytes, Contact] = attrs.field(factory=dict)
    failures: dict[bytes, int] = attrs.field(factory=dict)
    looked_at: float = 0.0


@attrs.define(eq=False)
class Contacts:
    """The table of one participant.

    :ivar place: its own
    """

    place: bytes
    _buckets: dict[int, _Bucket] = attrs.field(factory=dict)
    _networks: Counter[bytes] = attrs.field(factory=Counter)

    def __len__(self) -> int:
        return sum(len(bucket.contacts) for bucket in self._buckets.values())

    def __iter__(self) -> Iterator[Contact]:
        for bucket in self._buckets.values():
            yield from bucket.contacts.values()

    def __contains__(self, contact: Contact) -> bool:
        bucket = self._buckets.get(self._row(contact.place))
        return bucket is not None and contact.node_id in bucket.contacts

    def _row(self, place: bytes) -> int:
        return BITS - distance(self.place, place).bit_length()

    def answered(self, contact: Contact) -> None:
        """*contact* has answered a question of ours, which alone makes it one."""
        if contact.place == self.place:
            return
        bucket = self._buckets.setdefault(self._row(contact.place), _Bucket())
        if contact.node_id in bucket.contacts:
            bucket.failures.pop(contact.node_id, None)
            # Last heard of, last in line.
            bucket.contacts[contact.node_id] = bucket.contacts.pop(contact.node_id)
        elif len(bucket.contacts) < WIDTH and self._fits(bucket, contact):
            self._enter(bucket, contact)
        else:
            bucket.waiting.pop(contact.node_id, None)
            bucket.waiting[contact.node_id] = contact
            if len(bucket.waiting) > WAITING:
                del bucket.waiting[next(iter(bucket.waiting))]

    def failed(self, contact: Contact) -> None:
        """*contact* has not answered; after two times the newcomer that was heard of last takes its place."""
        bucket = self._buckets.get(self._row(contact.place))
        if bucket is None:
            return
        bucket.waiting.pop(contact.node_id, None)
        if contact.node_id not in bucket.contacts:
            return
        failures = bucket.failures[contact.node_id] = bucket.failures.get(contact.node_id, 0) + 1
        if failures < FAILURES:
            return
        self._leave(bucket, contact)
        for newcomer in reversed(list(bucket.waiting.values())):
            if self._fits(bucket, newcomer):
                del bucket.waiting[newcomer.node_id]
                self._enter(bucket, newcomer)
                return

    def stand(self, place: bytes) -> None:
        """Stand elsewhere: those who are in the table stay, in the rows where they belong now."""
        before = list(self)
        self.place = place
        self._buckets.clear()
        self._networks.clear()
        for contact in before:
            self.answered(contact)

    def forget(self, contact: Contact) -> None:
        """*contact* is none any more, whatever it answers."""
        bucket = self._buckets.get(self._row(contact.place))
        if bucket is None:
            return
        bucket.waiting.pop(contact.node_id, None)
        if contact.node_id in bucket.contacts:
            self._leave(bucket, bucket.contacts[contact.node_id])

    def _fits(self, bucket: _Bucket, contact: Contact) -> bool:
        network = contact.network
        if not network:
            return True
        here = sum(1 for other in bucket.contacts.values() if other.network == network)
        return here < PER_NETWORK and self._networks[network] < PER_NETWORK_IN_ALL

    def _enter(self, bucket: _Bucket, contact: Contact) -> None:
        bucket.contacts[contact.node_id] = contact
        self._networks[contact.network] += 1

    def _leave(self, bucket: _Bucket, contact: Contact) -> None:
        # The one that entered: the node may have moved to another network since.
        entered = bucket.contacts.pop(contact.node_id)
        bucket.failures.pop(contact.node_id, None)
        self._networks[entered.network] -= 1
        # Networks come and go for years.
        if not self._networks[entered.network]:
            del self._networks[entered.network]

    def closest(self, target: bytes, count: int = WIDTH) -> list[Contact]:
        """The contacts that are closest to *target*, the closest first."""
        number = int.from_bytes(target, "big")
        row = self._row(target)
        # Those of its own row have most in common with it, then all of deeper rows, then one row after the other.
        deeper = [place for place in self._buckets if place > row]
        found: list[Contact] = []
        for rows in ([row], deeper, *([place] for place in range(row - 1, -1, -1))):
            group = [one for place in rows if place in self._buckets for one in self._buckets[place].contacts.values()]
            group.sort(key=lambda contact: contact.number ^ number)
            found += group
            if len(found) >= count:
                break
        return found[:count]

    @property
    def deepest(self) -> int:
        """The row of the closest contact; -1 if there is none."""
        return max((row for row, bucket in self._buckets.items() if bucket.contacts), default=-1)

    def stale(self, now: float, life: float) -> list[int]:
        """The rows in which nothing was looked for within *life* seconds, and which have contacts."""
        return [row for row, one in self._buckets.items() if one.contacts and now - one.looked_at >= life]

    def looked_for(self, target: bytes, now: float) -> None:
        """A lookup of *target* was made."""
        bucket = self._buckets.get(self._row(target))
        if bucket is not None:
            bucket.looked_at = now

    def place_in(self, row: int, random: bytes) -> bytes:
        """A place that falls into *row*.

        :param random: 32 bytes
        """
        own, drawn = int.from_bytes(self.place, "big"), int.from_bytes(random, "big")
        bit = 1 << BITS - 1 - row
        return ((own & -bit ^ bit) | drawn & bit - 1).to_bytes(32, "big")
