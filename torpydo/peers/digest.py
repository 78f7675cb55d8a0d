"""Digests: what a peer has, in eight bytes a name, so that nobody sends it (docs/protocol-peers, Exchange).

Each name has a number, and each question has a random odd factor: the upper half of their product is what stands in
the digest. So whoever is asked makes one multiplication for a name and no hash, and two names that would be taken for
each other in one question are told apart in the next, whoever has chosen them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol, TypeVar

from torpydo.crypto import Person, blake
from torpydo.wire import Reader, Writer

__all__ = ["DIGEST_ENTRY", "SALT", "Digest", "encode_digest", "number_of"]

SALT: Final = 8
DIGEST_ENTRY: Final = 8
_HALF: Final = 32
_LOW: Final = (1 << _HALF) - 1
_HIGH: Final = _LOW << _HALF


class Numbered(Protocol):
    """Whoever may stand in a digest.

    :ivar number: of its name
    :ivar timestamp: of its record
    """

    number: int
    timestamp: int


N = TypeVar("N", bound=Numbered)


def number_of(key: bytes) -> int:
    """The number of the name that has *key*."""
    return int.from_bytes(blake(key, Person.KNOWN, size=8), "big")


def _factor(salt: bytes) -> int:
    return int.from_bytes(salt, "big") | 1


def encode_digest(salt: bytes, known: Iterable[tuple[int, int]]) -> bytes:
    """The digest of names by their numbers and timestamps.

    :param salt: 8 random bytes
    """
    factor = _factor(salt)
    entries = [number * factor & _HIGH | timestamp & _LOW for number, timestamp in known]
    return Writer().u64s(entries).getvalue()


class Digest:
    """A digest that has come.

    :param data: a multiple of eight bytes
    """

    def __init__(self, salt: bytes, data: bytes) -> None:
        self._factor = _factor(salt)
        self._entries = frozenset(Reader(data).u64s(len(data) // DIGEST_ENTRY))
        self._known: dict[int, int] | None = None

    def lacking(self, entries: Iterable[N]) -> list[N]:
        """Those of *entries* that it lacks."""
        theirs, factor = self._entries, self._factor
        # Nearly all are the same here and there, which is seen at once.
        others = [one for one in entries if one.number * factor & _HIGH | one.timestamp & _LOW not in theirs]
        return [one for one in others if self.lacks(one.number, one.timestamp)]

    def lacks(self, number: int, timestamp: int) -> bool:
        """Whether it has nothing of that name, or something earlier. Of timestamps it has the ends only."""
        if self._known is None:
            self._known = {value & _HIGH: value & _LOW for value in self._entries}
        theirs = self._known.get(number * self._factor & _HIGH)
        return theirs is None or 0 < (timestamp - theirs & _LOW) < 1 << _HALF - 1
