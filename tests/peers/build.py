"""Records and tables for tests."""

from __future__ import annotations

from random import Random
from typing import Any

import attrs

from torpydo.crypto import Secret, SigningKey
from torpydo.onion import OnionName
from torpydo.peers import Claim, Presence, Role, Search, Table

NOW = 1_700_000_000
TOPIC = b"chat"
DIFFICULTY = 4


def owner(number: int = 1) -> SigningKey:
    """Somebody who has a name."""
    return SigningKey(Secret(number.to_bytes(32, "big")))


def name(number: int = 1) -> OnionName:
    """That name."""
    return OnionName.of(owner(number))


def text(number: int = 1) -> str:
    """That name, as applications have it."""
    return str(name(number))


def claim(number: int = 1, **changes: Any) -> Claim:
    """What that peer says."""
    return attrs.evolve(Claim(owner(number).public, TOPIC, Role.PARTICIPANT, NOW, 3600), **changes)


def work(one: Presence, difficulty: int = DIFFICULTY) -> Presence:
    """With a nonce that does."""
    search = Search(one, difficulty, bytes(8))
    while (found := search.go_on(1000)) is None:
        pass
    return found


def idle(one: Presence, difficulty: int = DIFFICULTY) -> Presence:
    """With a nonce that does not."""
    made = (attrs.evolve(one, nonce=number.to_bytes(8, "big")) for number in range(1000))
    return next(each for each in made if not each.has_work(difficulty))


def presence(number: int = 1, *, by: int | None = None, worked: bool = True, **changes: Any) -> Presence:
    """A record.

    :param by: whose key has signed it, if not that peer's
    :param worked: whether it has cost something
    """
    signed = Presence.make(claim(number, **changes), owner(number if by is None else by))
    return (work if worked else idle)(signed)


def record(number: int = 1, **options: Any) -> bytes:
    """Its bytes."""
    return presence(number, **options).encode()


@attrs.define(eq=False)
class World:
    """Clocks that a test sets, and a table that goes by them."""

    now: float = 0.0
    own: int | None = 900
    random: Random = attrs.field(factory=lambda: Random(3))

    def wall(self) -> float:
        """The time of day."""
        return NOW + self.now

    def table(self, **options: Any) -> Table:
        """A table."""
        return Table(
            TOPIC, None if self.own is None else owner(self.own).public, DIFFICULTY, clock=lambda: self.now,
            wall_clock=self.wall, randbelow=self.random.randrange, **options,
        )  # fmt: skip
