"""A participant: answers others, and walks through them for itself (docs/protocol-dht, Taking part).

No I/O: what it wants to ask stands in :meth:`Participant.take_questions`, and whoever can ask tells what came of it. A
client is one that answers nobody. Called by node/dht and apps/dht, and by the simulation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import attrs

from torpydo.dht.contacts import WIDTH, Contact, Contacts
from torpydo.dht.items import Item
from torpydo.dht.lookup import HOLDERS, Lookup
from torpydo.dht.messages import Find, Found, Put, PutAnswer, decode_question
from torpydo.dht.storage import Storage, Verdict
from torpydo.errors import BadSignature
from torpydo.wire import Malformed

__all__ = ["REFRESH", "REPUBLISH", "Asked", "Participant"]

REPUBLISH: Final = 3600.0
"""Seconds after which a holder says an item again to those that are closest to it (SECURITY K4)."""
REFRESH: Final = 3600.0
"""Seconds after which a row of the table is looked through in which nothing was looked for."""
HIGH_WATER: Final = 1000
"""Targets of which the highest sequence that was seen is remembered (SECURITY K5)."""


@attrs.frozen(eq=False)
class Asked:
    """A question that is on its way."""

    contact: Contact
    data: bytes
    walk: _Walk


@attrs.define(eq=False)
class _Walk:
    """A lookup and what follows it."""

    lookup: Lookup
    done: Callable[[Lookup, int], None]
    item: Item | None = None
    """What is to be put where it ends."""
    first: Callable[[Item], None] | None = None
    putting: int | None = None
    """Of those that were asked to keep it, how many have not answered; ``None`` before."""
    stored: int = 0
    over: bool = False


class Participant:
    """One that takes part.

    :param place: where it stands, 32 bytes
    :param contact_of: what is known of a node by its id; ``None`` if it takes no part, and is not believed to
    :param clock: seconds that never go back
    :param wall_clock: seconds since 1970
    :ivar contacts: the table
    :ivar storage: what it keeps for others
    """

    def __init__(
        self,
        place: bytes,
        contact_of: Callable[[bytes], Contact | None],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self.contacts = Contacts(place)
        self.storage = Storage(place)
        self._contact_of = contact_of
        self._clock = clock
        self._wall_clock = wall_clock
        self._questions: list[Asked] = []
        self._seen: OrderedDict[bytes, int] = OrderedDict()
        self._said: dict[bytes, float] = {}

    # -- Answering

    def answer(self, data: bytes, source: bytes) -> bytes:
        """The answer to a question.

        :param source: who asks, as far as that can be told
        :raises Malformed: if it is none
        """
        question = decode_question(data)
        now, wall = self._clock(), self._wall_clock()
        if isinstance(question, Put):
            verdict = self.storage.put(question.item, source, now, wall)
            if verdict in (Verdict.STORED, Verdict.KNOWN):
                # Somebody has just told all that are close; each of them need not do so as well.
                self._said[question.item.target] = now
            return PutAnswer(verdict).encode()
        item = self.storage.get(question.target, now, wall) if question.wants_item else None
        nodes = tuple(contact.node_id for contact in self.contacts.closest(question.target))
        return Found(nodes, item).encode()

    # -- Asking

    def find(
        self,
        target: bytes,
        done: Callable[[Item | None], None],
        *,
        start: list[Contact] | None = None,
        first: Callable[[Item], None] | None = None,
    ) -> None:
        """Look for an item; *done* is called with the newest that was found, and those behind it are told.

        :param first: called with the first that is found; a newer one may come
        :param start: whom to begin with, if not those of the table
        """

        def found(lookup: Lookup, stored: int) -> None:
            item = lookup.found
            if item is not None:
                self._remember(target, item.sequence)
                for contact in lookup.behind():
                    self._put(walk, contact, item)
            done(item)

        walk = self._walk(Lookup(target, start or self._start(target), wants_item=True), found, first=first)

    def nodes(self, target: bytes, done: Callable[[list[Contact]], None], start: list[Contact] | None = None) -> None:
        """Look for the nodes that are closest to *target*."""
        self._walk(Lookup(target, start or self._start(target)), lambda lookup, stored: done(lookup.closest()))

    def store(self, item: Item, done: Callable[[int], None], start: list[Contact] | None = None) -> None:
        """Have *item* kept by those that are closest to it; *done* is called with how many keep it."""
        self._remember(item.target, item.sequence)
        lookup = Lookup(item.target, start or self._start(item.target))
        self._walk(lookup, lambda lookup, stored: done(stored), item)

    def join(self, start: list[Contact], random: Callable[[int], bytes], done: Callable[[], None]) -> None:
        """Come to know others: look for its own place, then through every row that is farther away.

        :param start: whom it knows
        """

        def looked(found: list[Contact]) -> None:
            rows = [row for row in range(self.contacts.deepest + 1)]
            left = len(rows)

            def one_done(found: list[Contact]) -> None:
                nonlocal left
                left -= 1
                if not left:
                    done()

            for row in rows:
                self.nodes(self.contacts.place_in(row, random(32)), one_done)
            if not rows:
                done()

        self.nodes(self.contacts.place, looked, start)

    def high_water(self, target: bytes) -> int:
        """The highest sequence that was seen for *target*; -1 for none. A lower one is a rollback (SECURITY K5)."""
        return self._seen.get(target, -1)

    def upkeep(self, random: Callable[[int], bytes], *, rejoined: bool = False) -> None:
        """Look through rows of the table, and say again what others may have lost; to be called now and then.

        :param rejoined: it was cut off, and its items may be newer than what the others have: say all of them now
        """
        now, wall = self._clock(), self._wall_clock()
        self.storage.expire(now, wall)
        for row in self.contacts.stale(now, REFRESH):
            self.nodes(self.contacts.place_in(row, random(32)), lambda found: None)
        known = set()
        for item in self.storage:
            known.add(item.target)
            if rejoined or now - self._said.get(item.target, 0.0) >= REPUBLISH:
                self._said[item.target] = now
                self.store(item, lambda stored: None)
        self._said = {target: when for target, when in self._said.items() if target in known}

    def _start(self, target: bytes) -> list[Contact]:
        return self.contacts.closest(target, WIDTH)

    def _remember(self, target: bytes, sequence: int) -> None:
        self._seen[target] = max(sequence, self._seen.pop(target, -1))
        if len(self._seen) > HIGH_WATER:
            self._seen.popitem(last=False)

    # -- Walks

    def take_questions(self) -> list[Asked]:
        """What is to be asked now; each must be reported by :meth:`heard` or :meth:`silent`."""
        questions, self._questions = self._questions, []
        return questions

    def _walk(
        self,
        lookup: Lookup,
        done: Callable[[Lookup, int], None],
        item: Item | None = None,
        first: Callable[[Item], None] | None = None,
    ) -> _Walk:
        walk = _Walk(lookup, done, item, first)
        self.contacts.looked_for(lookup.target, self._clock())
        self._go_on(walk)
        return walk

    def _go_on(self, walk: _Walk) -> None:
        if walk.over:
            return
        question = Find(walk.lookup.target, walk.lookup.wants_item).encode()
        self._questions += [Asked(contact, question, walk) for contact in walk.lookup.questions()]
        if not walk.lookup.is_over:
            return
        if walk.item is not None and walk.putting is None:
            holders = walk.lookup.closest(HOLDERS)
            walk.putting = len(holders)
            for contact in holders:
                self._put(walk, contact, walk.item)
        if not walk.putting:
            walk.over = True
            walk.done(walk.lookup, walk.stored)

    def _put(self, walk: _Walk, contact: Contact, item: Item) -> None:
        self._questions.append(Asked(contact, Put(item).encode(), walk))

    def heard(self, asked: Asked, data: bytes) -> None:
        """*data* answers a question."""
        walk, contact = asked.walk, asked.contact
        try:
            if decode_is_put(asked.data):
                verdict = PutAnswer.decode(data).verdict
                self._put_answered(walk, kept=verdict in (Verdict.STORED, Verdict.KNOWN))
            else:
                found = Found.decode(data)
                item = found.item
                if item is not None:
                    self._check(item, walk.lookup)
                nodes = [one for node_id in found.nodes if (one := self._contact_of(node_id)) is not None]
                walk.lookup.answered(contact, nodes, item)
                if item is not None and walk.first is not None:
                    first, walk.first = walk.first, None
                    first(item)
        except (Malformed, BadSignature):
            self.silent(asked)
            return
        self.contacts.answered(contact)
        self._go_on(walk)

    def _check(self, item: Item, lookup: Lookup) -> None:
        """See that it is what was asked for.

        :raises Malformed: if it is not, or belongs to another time
        """
        if not lookup.wants_item or item.target != lookup.target or item.expires <= self._wall_clock():
            raise Malformed("an item that was not asked for")
        if item != lookup.found:
            item.check()

    def silent(self, asked: Asked) -> None:
        """A question has no answer, or one that cannot be used."""
        self.contacts.failed(asked.contact)
        if decode_is_put(asked.data):
            self._put_answered(asked.walk, kept=False)
        else:
            asked.walk.lookup.failed(asked.contact)
        self._go_on(asked.walk)

    @staticmethod
    def _put_answered(walk: _Walk, *, kept: bool) -> None:
        # What a reader tells those behind it nobody waits for.
        if walk.putting:
            walk.putting -= 1
        walk.stored += kept


def decode_is_put(data: bytes) -> bool:
    """Whether a question of ours was to keep an item."""
    return data[:1] == b"\x02"
