"""Walks: lookups with their questions, and what follows where they end. No I/O.

Each question is an :class:`Asked`, and stands for what becomes of it: an answer, one that is late, or none.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import attrs

from torpydo.dht.contacts import Contact, Contacts
from torpydo.dht.items import Item
from torpydo.dht.lookup import HOLDERS, Lookup
from torpydo.dht.messages import Find, Found, Put, PutAnswer, Question
from torpydo.dht.storage import Verdict
from torpydo.errors import BadSignature
from torpydo.wire import Malformed

__all__ = ["Asked", "Walk", "Walks"]


@attrs.frozen(eq=False)
class Asked:
    """A question that is on its way.

    :ivar contact: whom it is for
    :ivar data: what is sent
    :ivar at: when it was asked, on the participant's clock
    """

    contact: Contact
    question: Question
    data: bytes
    at: float
    walk: Walk


@attrs.define(eq=False)
class Walk:
    """A lookup and what follows it."""

    lookup: Lookup
    done: Callable[[Walk], None]
    item: Item | None = None
    """What is to be put where it ends."""
    first: Callable[[Item], None] | None = None
    putting: int | None = None
    """Of those that were asked to keep it, how many have not answered; ``None`` before."""
    stored: int = 0
    over: bool = False


class Walks:
    """All that a participant has under way.

    :param contacts: the table, which is told who answers and who does not
    :param contact_of: what is known of a node by its id; ``None`` if it takes no part
    :param high_water: the highest sequence that was seen for a target
    """

    def __init__(
        self,
        contacts: Contacts,
        contact_of: Callable[[bytes], Contact | None],
        high_water: Callable[[bytes], int],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._contacts = contacts
        self._contact_of = contact_of
        self._high_water = high_water
        self._clock = clock
        self._wall_clock = wall_clock
        self._questions: list[Asked] = []
        self._heard_at = -inf

    def take_questions(self) -> list[Asked]:
        """What is to be asked now."""
        questions, self._questions = self._questions, []
        return questions

    def begin(
        self,
        lookup: Lookup,
        done: Callable[[Walk], None],
        item: Item | None = None,
        first: Callable[[Item], None] | None = None,
    ) -> Lookup:
        """Begin one.

        :param done: called when it is over, which may be at once
        :param item: what is to be put where it ends
        :param first: called with the first item that is found
        """
        self._contacts.looked_for(lookup.target, self._clock())
        self._go_on(Walk(lookup, done, item, first))
        return lookup

    def _go_on(self, walk: Walk) -> None:
        if walk.over:
            return
        lookup = walk.lookup
        for contact in lookup.questions():
            self.ask(walk, contact, Find(lookup.target, lookup.wants_item))
        if not lookup.is_over:
            return
        if walk.item is not None and walk.putting is None:
            holders = lookup.closest(HOLDERS)
            walk.putting = len(holders)
            for contact in holders:
                self.ask(walk, contact, Put(walk.item))
        if not walk.putting:
            walk.over = True
            walk.done(walk)

    def ask(self, walk: Walk, contact: Contact, question: Question) -> None:
        """Ask *contact* something that belongs to *walk*."""
        self._questions.append(Asked(contact, question, question.encode(), self._clock(), walk))

    def heard(self, asked: Asked, data: bytes) -> None:
        """*data* answers a question."""
        self._heard_at = self._clock()
        first = None
        try:
            if isinstance(asked.question, Put):
                verdict = PutAnswer.decode(data).verdict
                self._put_answered(asked.walk, kept=verdict in (Verdict.STORED, Verdict.KNOWN))
            else:
                first = self._found(asked, Found.decode(data))
        except (Malformed, BadSignature):
            self.silent(asked)
            return
        self._contacts.answered(asked.contact)
        if first is not None and asked.walk.first is not None:
            tell, asked.walk.first = asked.walk.first, None
            tell(first)
        self._go_on(asked.walk)

    def _found(self, asked: Asked, found: Found) -> Item | None:
        """Take in what is answered; returns an item that counts.

        :raises Malformed: if the item is not what was asked for
        :raises BadSignature: if its owner has not signed it
        """
        lookup, item = asked.walk.lookup, found.item
        if item is not None:
            if not lookup.wants_item or item.target != lookup.target:
                raise Malformed("an item that was not asked for")
            if item != lookup.found:
                item.check()
            # Clocks differ: whoever hands out what has just expired is no liar.
            if item.expires <= self._wall_clock():
                item = None
        nodes = [one for node_id in found.nodes if (one := self._contact_of(node_id)) is not None]
        lookup.answered(asked.contact, [one for one in nodes if one.place != self._contacts.place], item)
        return item if item is not None and item.sequence >= self._high_water(item.target) else None

    def slow(self, asked: Asked) -> None:
        """A question has no answer after the time that most need."""
        if isinstance(asked.question, Find):
            asked.walk.lookup.slow(asked.contact)
            self._go_on(asked.walk)

    def silent(self, asked: Asked) -> None:
        """A question has no answer, or one that cannot be used."""
        # Who hears from nobody at all is cut off himself, and must not lose his table by that.
        if self._heard_at >= asked.at:
            self._contacts.failed(asked.contact)
        if isinstance(asked.question, Put):
            self._put_answered(asked.walk, kept=False)
        else:
            asked.walk.lookup.failed(asked.contact)
        self._go_on(asked.walk)

    @staticmethod
    def _put_answered(walk: Walk, *, kept: bool) -> None:
        # What a reader tells those behind it nobody waits for.
        if walk.putting:
            walk.putting -= 1
        walk.stored += kept
