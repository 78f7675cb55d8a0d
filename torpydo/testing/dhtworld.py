"""A DHT in memory on virtual time: thousands of participants, with liars, churn and partitions.

It runs the real participants; only the way between them is made up. A question takes a trip there and one back, a dead
participant answers nothing, and one on the other side of a partition is as good as dead.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import count

from torpydo.crypto import Secret, SigningKey
from torpydo.dht import Asked, Contact, Found, Item, Participant, decode_question, place_of

__all__ = ["DHTWorld", "Member"]

TIMEOUT = 2.0
"""Virtual seconds until a question counts as not answered."""
START = 1_700_000_000


class Member:
    """One participant of a world.

    :ivar side: which part of a partition it is in
    :ivar lies: answers in its place, if it is a liar
    """

    def __init__(self, world: DHTWorld, number: int) -> None:
        self.node_id = number.to_bytes(32, "big")
        self.contact = Contact(self.node_id, place_of(self.node_id))
        self.core = Participant(
            self.contact.place, world.contact_of, lambda: world.now, lambda: START + world.now
        )
        self.alive = True
        self.side = 0
        self.lies: Callable[[bytes], bytes | None] | None = None


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
        self.members = [Member(self, number) for number in range(1, size + 1)]
        self._by_id = {member.node_id: member for member in self.members}

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

    def acquaint(self) -> None:
        """Fill every table as it is after a long time, without a question: a full row where there are so many."""
        for member in self.members:
            for other in self.random.sample(self.members, len(self.members)):
                member.core.contacts.answered(other.contact)

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

        def arrives() -> None:
            if not other.alive or other.side != member.side:
                self.later(TIMEOUT - there, lambda: told(None))
                return
            data = other.lies(asked.data) if other.lies is not None else None
            if data is None:
                data = other.core.answer(asked.data, member.node_id)
            self.later(back, lambda: told(data))

        def told(data: bytes | None) -> None:
            if not member.alive:
                return
            if data is None:
                member.core.silent(asked)
            else:
                member.core.heard(asked, data)
            self.send(member)

        self.later(there, arrives)

    # -- What a test asks

    def find(self, member: Member, target: bytes) -> Item | None:
        """What *member* finds."""
        found: list[Item | None] = []
        member.core.find(target, found.append)
        self.run(member)
        return found[0] if found else None

    def store(self, member: Member, item: Item) -> int:
        """How many keep it."""
        stored: list[int] = []
        member.core.store(item, stored.append)
        self.run(member)
        (number,) = stored
        return number

    def upkeep(self, members: Iterable[Member] | None = None, *, rejoined: bool = False) -> None:
        """Everybody who is alive looks after the table and its items."""
        chosen = [member for member in (self.members if members is None else members) if member.alive]
        for member in chosen:
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

    def lie_about_nodes(self, members: Iterable[Member]) -> None:
        """They name each other alone, and have no items: the eclipse that a lookup must get round."""
        liars = list(members)
        named = [liar.node_id for liar in liars]

        def answer(data: bytes) -> bytes | None:
            question = decode_question(data)
            target = getattr(question, "target", None)
            if target is None:
                return None
            nearest = sorted(named, key=lambda one: _near(place_of(one), target))
            return Found(tuple(nearest[:20])).encode()

        for liar in liars:
            liar.lies = answer


def _near(place: bytes, target: bytes) -> int:
    return int.from_bytes(place, "big") ^ int.from_bytes(target, "big")
