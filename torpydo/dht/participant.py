"""A participant: answers others, and walks through them for itself (docs/protocol-dht, Taking part).

No I/O: what it wants to ask stands in :meth:`Participant.take_questions`, and whoever can ask tells what came of it. A
client is one that answers nobody. Called by node/dht and apps/dht, and by the simulation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final

from torpydo.dht.contacts import WIDTH, Contact, Contacts, distance
from torpydo.dht.items import Item
from torpydo.dht.lookup import MOST, Lookup
from torpydo.dht.messages import Found, Put, PutAnswer, decode_question
from torpydo.dht.storage import Storage, Verdict
from torpydo.dht.walks import Asked, Walk, Walks

__all__ = ["REFRESH", "Participant"]

REFRESH: Final = 3600.0
"""Seconds after which a row of the table is looked through in which nothing was looked for."""
TOGETHER: Final = 4
"""Walks of the upkeep at one time: thousands of items must not be thousands of walks in one turn."""
HIGH_WATER: Final = 1000
"""Targets of which the highest sequence that was seen is remembered (SECURITY K5)."""
# Before what a task of the upkeep is about.
_LOOK, _TELL = b"look", b"tell"


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
        self.storage = Storage(self._is_near)
        self._contact_of = contact_of
        self._clock = clock
        self._wall_clock = wall_clock
        self._seen: OrderedDict[bytes, int] = OrderedDict()
        self._walks = Walks(self.contacts, contact_of, self.high_water, clock, wall_clock)
        # What the upkeep has still to do, by row or item, and how much of it is under way.
        self._tasks: dict[bytes, Callable[[], object]] = {}
        self._under_way = 0

    def _is_near(self, target: bytes) -> bool:
        """Whether fewer than *k* contacts are closer to *target*."""
        closest = self.contacts.closest(target)
        own = distance(self.contacts.place, target)
        return len(closest) < WIDTH or own < distance(closest[-1].place, target)

    # -- Answering

    def answer(self, data: bytes, source: bytes) -> bytes:
        """The answer to a question.

        :param source: who asks, as far as that can be told
        :raises Malformed: if it is none
        """
        question = decode_question(data)
        now, wall = self._clock(), self._wall_clock()
        if isinstance(question, Put):
            target = question.item.target
            verdict = self.storage.put(question.item, source, now, wall)
            if verdict in (Verdict.STORED, Verdict.KNOWN):
                # Somebody has just told all that are close; each of them need not do so as well.
                self._tasks.pop(_TELL + target, None)
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
        most: int = MOST,
    ) -> Lookup:
        """Look for an item; *done* is called with the newest that was found, and those behind it are told. One that is
        older than what was seen before is not given: it is a rollback (SECURITY K5).

        :param first: called with the first that is found; a newer one may come
        :param start: whom to begin with, if not those of the table
        :param most: questions in all; who begins with the closest that are listed needs few
        :returns: how it goes
        """

        def found(walk: Walk) -> None:
            item = walk.lookup.found
            if item is not None:
                if item.sequence < self.high_water(target):
                    item = None
                else:
                    self._remember(target, item.sequence)
                    for contact in walk.lookup.behind():
                        self._walks.ask(walk, contact, Put(item))
            done(item)

        lookup = Lookup(target, self._start(target, start), wants_item=True, most=most)
        return self._walks.begin(lookup, found, first=first)

    def nodes(
        self,
        target: bytes,
        done: Callable[[list[Contact]], None],
        start: list[Contact] | None = None,
        *,
        most: int = MOST,
    ) -> Lookup:
        """Look for the nodes that are closest to *target*."""
        lookup = Lookup(target, self._start(target, start), most=most)
        return self._walks.begin(lookup, lambda walk: done(walk.lookup.closest()))

    def store(
        self, item: Item, done: Callable[[int], None], start: list[Contact] | None = None, *, most: int = MOST
    ) -> Lookup:
        """Have *item* kept by those that are closest to it; *done* is called with how many keep it.

        :param most: questions in all, before it is put anywhere
        """
        self._remember(item.target, item.sequence)
        return self._store(item, done, start, most)

    def _store(
        self, item: Item, done: Callable[[int], None], start: list[Contact] | None = None, most: int = MOST
    ) -> Lookup:
        lookup = Lookup(item.target, self._start(item.target, start), most=most)
        return self._walks.begin(lookup, lambda walk: done(walk.stored), item)

    def join(self, start: list[Contact], random: Callable[[int], bytes], done: Callable[[], None]) -> None:
        """Come to know others: look for its own place, then through every row that is farther away.

        :param start: whom it knows
        """

        def looked(found: list[Contact]) -> None:
            rows = range(self.contacts.deepest + 1)
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

    def _start(self, target: bytes, start: list[Contact] | None) -> list[Contact]:
        # Others name it as well; nobody asks himself.
        chosen = start or self.contacts.closest(target, WIDTH)
        return [contact for contact in chosen if contact.place != self.contacts.place]

    def _remember(self, target: bytes, sequence: int) -> None:
        self._seen[target] = max(sequence, self._seen.pop(target, -1))
        if len(self._seen) > HIGH_WATER:
            self._seen.popitem(last=False)

    # -- Upkeep

    def upkeep(self, random: Callable[[int], bytes], *, rejoined: bool = False) -> None:
        """Look through rows of the table, and say again what others may have lost; to be called now and then. What is
        to be asked for that comes with :meth:`take_questions`, a few walks at a time.

        :param rejoined: it was cut off, and its items may be newer than what the others have: say all of them now
        """
        now = self._clock()
        self.storage.expire(now, self._wall_clock())
        self._look_at_listing()
        for row in self.contacts.stale(now, REFRESH):
            look = partial(self.nodes, self.contacts.place_in(row, random(32)), self._task_done)
            self._tasks.setdefault(_LOOK + bytes((row,)), look)
        for target in [item.target for item in self.storage] if rejoined else self.storage.due(now):
            self._tasks.setdefault(_TELL + target, partial(self._tell, target))

    def drop_tasks(self) -> None:
        """Nobody can be asked any more: what the upkeep has still to do is not begun."""
        self._tasks.clear()

    def _look_at_listing(self) -> None:
        """A contact that is listed no more is none, and one that has moved stands where it stands now."""
        for contact in list(self.contacts):
            listed = self._contact_of(contact.node_id)
            if listed is None or (listed.place, listed.network) != (contact.place, contact.network):
                self.contacts.forget(contact)
                if listed is not None:
                    self.contacts.answered(listed)

    def _tell(self, target: bytes) -> None:
        now = self._clock()
        item = self.storage.get(target, now, self._wall_clock())
        if item is None:
            self._task_done()
            return
        self.storage.told(target, now)
        self._store(item, self._task_done)

    def _task_done(self, found: object = None) -> None:
        self._under_way -= 1

    # -- What is asked, and what comes of it

    def take_questions(self) -> list[Asked]:
        """What is to be asked now; each must be reported by :meth:`heard` or :meth:`silent`. To be called after each
        report, and after an upkeep.
        """
        # A task may be over at once, and must not begin the next from within: there are thousands.
        while self._tasks and self._under_way < TOGETHER:
            self._under_way += 1
            self._tasks.pop(next(iter(self._tasks)))()
        return self._walks.take_questions()

    def heard(self, asked: Asked, data: bytes) -> None:
        """*data* answers a question."""
        self._walks.heard(asked, data)

    def slow(self, asked: Asked) -> None:
        """A question has no answer after the time that most need: another one is asked meanwhile, so that those who
        answer late on purpose hold nothing up. It may still be answered, and must be reported as the others.
        """
        self._walks.slow(asked)

    def silent(self, asked: Asked) -> None:
        """A question has no answer, or one that cannot be used."""
        self._walks.silent(asked)
