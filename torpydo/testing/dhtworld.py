"""A DHT in memory on virtual time: thousands of participants, with liars, churn and partitions.

It runs the real participants; only the way between them is made up. A question takes a trip there and one back, a dead
participant answers nothing, and one on the other side of a partition is as good as dead.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Iterable
from heapq import heappop, heappush, nsmallest
from itertools import count

import attrs

from torpydo.crypto import Secret, SigningKey
from torpydo.dht import (
    WIDTH,
    Asked,
    Contact,
    Find,
    Found,
    Item,
    Participant,
    PutAnswer,
    Verdict,
    decode_question,
    place_of,
)

__all__ = ["DHTWorld", "Member", "Search"]

SLOW = 0.5
"""Virtual seconds until somebody else is asked as well ..."""
TIMEOUT = 2.0
"""... and until a question counts as not answered."""
START = 1_700_000_000
BITS = 256


class Member:
    """One participant of a world.

    :ivar side: which part of a partition it is in
    :ivar lies: answers in its place, if it is a liar
    :ivar late: virtual seconds that its answers take longer than they need
    """

    def __init__(self, world: DHTWorld) -> None:
        self.node_id = world.random.randbytes(32)
        self.contact = Contact(self.node_id, place_of(self.node_id))
        self.core = Participant(
            self.contact.place, world.contact_of, lambda: world.now, lambda: START + world.now
        )
        self.alive = True
        self.side = 0
        self.lies: Callable[[bytes], bytes] | None = None
        self.late = 0.0


@attrs.frozen
class Search:
    """How a lookup for an item went.

    :ivar hops: steps to the closest node that answered
    :ivar questions: how many were asked
    :ivar seconds: virtual ones, until it was over
    """

    item: Item | None
    hops: int
    questions: int
    seconds: float


class DHTWorld:
    """All participants, and the way between them.

    :param size: how many
    :param latency: virtual seconds that a message takes at the least; it takes twice that at the most
    """

    def __init__(self, size: int, *, seed: int = 0, latency: float = 0.05) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self._latency = latency
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self.questions = 0
        self.members: list[Member] = []
        self._by_id: dict[bytes, Member] = {}
        self._add(size)

    def _add(self, count: int) -> list[Member]:
        made = [Member(self) for _ in range(count)]
        self.members += made
        self._by_id.update((member.node_id, member) for member in made)
        return made

    def contact_of(self, node_id: bytes) -> Contact | None:
        """What everybody knows of a node, from the listing."""
        member = self._by_id.get(node_id)
        return None if member is None else member.contact

    def join(self) -> None:
        """Each knows a few others, as if it had a listing of those alone, and comes to know those that it needs."""
        for _ in range(2):
            # The first to join meet others who know next to nobody yet.
            for member in self.members:
                known = self.random.sample(self.members, min(5, len(self.members)))
                member.core.join([one.contact for one in known], self.random.randbytes, lambda: None)
            self.run(*self.members)

    def _listed_near(self, member: Member) -> list[Contact]:
        own = member.contact.number
        return nsmallest(WIDTH, (other.contact for other in self.members), key=lambda contact: contact.number ^ own)

    def acquaint(self) -> None:
        """Fill every table as it is after a long time, without a question: a full row where there are so many."""
        contacts = sorted((member.contact for member in self.members), key=lambda contact: contact.number)
        numbers = [contact.number for contact in contacts]
        for member in self.members:
            row, others = 0, len(contacts)
            while others > 1:
                # Who has so many bits in common with it stand side by side, and in two halves.
                bit = 1 << BITS - 1 - row
                own = member.contact.number & -bit
                other = own ^ bit
                low, high = bisect_left(numbers, other), bisect_left(numbers, other + bit)
                for place in self.random.sample(range(low, high), min(WIDTH, high - low)):
                    member.core.contacts.answered(contacts[place])
                others = bisect_left(numbers, own + bit) - bisect_left(numbers, own)
                row += 1

    def replace(self, members: Iterable[Member]) -> list[Member]:
        """Churn: *members* are gone from one moment to the next, and as many new ones join."""
        gone = list(members)
        for member in gone:
            member.alive = False
        made = self._add(len(gone))
        for member in made:
            member.core.join(self._listed_near(member), self.random.randbytes, lambda: None)
        self.run(*made)
        return made

    # -- Time and messages

    def later(self, delay: float, call: Callable[[], None]) -> None:
        """Do something after so many virtual seconds."""
        heappush(self._due, (self.now + delay, next(self._number), call))

    def run(self, *members: Member, until: Callable[[], bool] = lambda: False) -> None:
        """Let everything happen that *members* have begun, to its end."""
        for member in members:
            self.send(member)
        while self._due and not until():
            when, _, call = heappop(self._due)
            self.now = max(self.now, when)
            call()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self._due and self._due[0][0] <= until:
            when, _, call = heappop(self._due)
            self.now = max(self.now, when)
            call()
        self.now = until

    def send(self, member: Member) -> None:
        """Send the questions of *member*."""
        for asked in member.core.take_questions():
            self.questions += 1
            self._ask(member, asked)

    def _trip(self) -> float:
        return self._latency * (1 + self.random.random())

    def _ask(self, member: Member, asked: Asked) -> None:
        other = self._by_id[asked.contact.node_id]
        there, back = self._trip(), self._trip()
        answered = False

        def arrives() -> None:
            if not other.alive or other.side != member.side:
                self.later(SLOW - there, slow)
                self.later(TIMEOUT - there, lambda: told(None))
                return
            if other.lies is not None:
                data = other.lies(asked.data)
            else:
                data = other.core.answer(asked.data, member.node_id)
            if other.late:
                self.later(SLOW - there, slow)
            self.later(back + other.late, lambda: told(data))

        def slow() -> None:
            if member.alive and not answered:
                member.core.slow(asked)
                self.send(member)

        def told(data: bytes | None) -> None:
            nonlocal answered
            answered = True
            if not member.alive:
                return
            if data is None:
                member.core.silent(asked)
            else:
                member.core.heard(asked, data)
            self.send(member)

        self.later(there, arrives)

    # -- What a test asks

    def search(self, member: Member, target: bytes) -> Search:
        """What *member* finds, and what it took."""
        begun = self.now
        ended: list[tuple[float, Item | None]] = []
        lookup = member.core.find(target, lambda item: ended.append((self.now, item)))
        self.run(member)
        ((when, item),) = ended
        return Search(item, lookup.hops, lookup.asked, when - begun)

    def find(self, member: Member, target: bytes) -> Item | None:
        """What *member* finds."""
        return self.search(member, target).item

    def store(self, member: Member, item: Item) -> int:
        """How many keep it."""
        stored: list[int] = []
        member.core.store(item, stored.append)
        self.run(member)
        (number,) = stored
        return number

    def upkeep(
        self, members: Iterable[Member] | None = None, *, rejoined: bool = False, look_around: bool = True
    ) -> None:
        """Everybody who is alive looks after the table and its items.

        :param look_around: and at those nearby of whom the listing says that they take part
        """
        chosen = [member for member in (self.members if members is None else members) if member.alive]
        for member in chosen:
            if look_around:
                member.core.nodes(member.contact.place, lambda found: None, self._listed_near(member))
            member.core.upkeep(self.random.randbytes, rejoined=rejoined)
        self.run(*chosen)

    def holders(self, item: Item) -> list[Member]:
        """Who keeps that very item."""
        return [member for member in self.members if any(kept == item for kept in member.core.storage)]

    def item(self, seed: int, sequence: int = 1, value: bytes = b"value", salt: bytes = b"") -> Item:
        """An item of the owner number *seed*."""
        key = SigningKey(Secret(seed.to_bytes(32, "big")))
        return Item.make(key, key.public, salt, sequence, START + int(self.now) + 86_400, value)

    # -- Liars

    def lie_about_nodes(
        self,
        members: Iterable[Member],
        *,
        late: float = 0.0,
        item: Callable[[bytes], Item | None] = lambda target: None,
    ) -> None:
        """They name each other alone, give no items, and say that they keep what they are given: the eclipse that a
        lookup must get round.

        :param late: virtual seconds that they take to it
        :param item: what they give for a target, instead of nothing
        """
        liars = list(members)
        named = [liar.contact for liar in liars]

        def nearest(target: bytes) -> list[bytes]:
            number = int.from_bytes(target, "big")
            return [one.node_id for one in nsmallest(WIDTH, named, key=lambda contact: contact.number ^ number)]

        self._lie(liars, nearest, item, late)

    def lie_at_random(self, members: Iterable[Member]) -> None:
        """They name nodes that have nothing to do with the target, and as many that there are not."""

        def anybody(target: bytes) -> list[bytes]:
            some = [one.node_id for one in self.random.sample(self.members, min(WIDTH // 2, len(self.members)))]
            return some + [self.random.randbytes(32) for _ in range(WIDTH - len(some))]

        self._lie(members, anybody, lambda target: None)

    def _lie(
        self,
        members: Iterable[Member],
        names: Callable[[bytes], list[bytes]],
        item: Callable[[bytes], Item | None],
        late: float = 0.0,
    ) -> None:
        kept = PutAnswer(Verdict.STORED).encode()

        def answer(data: bytes) -> bytes:
            question = decode_question(data)
            if not isinstance(question, Find):
                return kept
            given = item(question.target) if question.wants_item else None
            return Found(tuple(names(question.target)), given).encode()

        for liar in members:
            liar.lies, liar.late = answer, late

    def stand_near(self, members: Iterable[Member], target: bytes) -> None:
        """Sybils: they have worked for stamps until each stands closer to *target* than anybody else."""
        closest = min(member.contact.number ^ int.from_bytes(target, "big") for member in self.members)
        for number, member in enumerate(members, 1):
            place = int.from_bytes(target, "big") ^ (closest >> 8) + number
            member.contact = Contact(member.node_id, place.to_bytes(32, "big"))
            member.core.contacts.stand(member.contact.place)
