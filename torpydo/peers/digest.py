"""Digests: what a peer has, in eight bytes a name, so that nobody sends it (docs/protocol-peers, Exchange).

Each name has a number, and each question has a random odd factor: the upper half of their product is what stands in
the digest. So whoever is asked makes one multiplication for a name and no hash, and two names that would be taken for
each other in one question are told apart in the next, whoever has chosen them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from torpydo.crypto import Person, blake

__all__ = ["DIGEST_ENTRY", "SALT", "Digest", "encode_digest", "number_of"]

SALT: Final = 8
DIGEST_ENTRY: Final = 8
_HALF: Final = 32
_LOW: Final = (1 << _HALF) - 1
_WHOLE: Final = (1 << 2 * _HALF) - 1


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
    return b"".join(
        [((number * factor & _WHOLE) >> _HALF << _HALF | timestamp & _LOW).to_bytes(8, "big")
         for number, timestamp in known]
    )  # fmt: skip


class Digest:
    """A digest that has come.

    :param data: a multiple of eight bytes
    """

    def __init__(self, salt: bytes, data: bytes) -> None:
        self._factor = _factor(salt)
        values = [int.from_bytes(data[place : place + 8], "big") for place in range(0, len(data), 8)]
        self._known = {value >> _HALF: value & _LOW for value in values}

    def lacks(self, number: int, timestamp: int) -> bool:
        """Whether it has nothing of that name, or something earlier. Of timestamps it has the ends only."""
        theirs = self._known.get((number * self._factor & _WHOLE) >> _HALF)
        return theirs is None or 0 < (timestamp - theirs & _LOW) < 1 << _HALF - 1
