"""Effort under load: who wants to be introduced first has looked for a number (docs/protocol-onion, Puzzles).

A solution of effort *e* takes *e* hashes on average to find and one to check. Native programs are about twenty times as
fast as this one at it, so it is a hurdle and not a wall; whoever floods pays for each introduction all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

import attrs

from torpydo.crypto import KEY_SIZE, Person

__all__ = ["LEAST_EFFORT", "MOST_EFFORT", "NONCE_SIZE", "Puzzle", "solve"]

NONCE_SIZE: Final = 16
LEAST_EFFORT: Final = 1 << 12
"""What a service suggests at the least, if it suggests any: nothing that a user would notice."""
MOST_EFFORT: Final = 1 << 21
"""What a service suggests, and a client spends, at the most: a descriptor must not keep its readers busy for hours."""
_WHOLE: Final = 1 << 64
_NONCES: Final = 1 << 8 * NONCE_SIZE


@attrs.frozen
class Puzzle:
    """What a service asks for in a descriptor.

    :ivar seed: 32 bytes, new ones now and then
    :ivar effort: that it suggests; 0 asks for nothing
    """

    seed: bytes = attrs.field(validator=attrs.validators.max_len(KEY_SIZE))
    effort: int = 0

    def _hash(self, cookie: bytes) -> Callable[[bytes], int]:
        begun = blake2b(self.seed + cookie, digest_size=8, person=Person.PUZZLE.value)

        def value(nonce: bytes) -> int:
            one = begun.copy()
            one.update(nonce)
            return int.from_bytes(one.digest(), "big")

        return value

    def effort_of(self, cookie: bytes, nonce: bytes, claimed: int) -> int:
        """What a solution is worth: *claimed*, or 0 if it does not hold. It is the service that counts it once."""
        return claimed if self._hash(cookie)(nonce) * claimed < _WHOLE else 0


def solve(puzzle: Puzzle, cookie: bytes, effort: int, start: bytes, tries: int) -> bytes | None:
    """Look for a solution; ``None`` if none of so many tries is one: go on with another *start* then.

    :param start: 16 random bytes to begin with
    """
    value = puzzle._hash(cookie)
    number = int.from_bytes(start, "big")
    most = (_WHOLE - 1) // effort if effort else _WHOLE
    for step in range(tries):
        nonce = ((number + step) % _NONCES).to_bytes(NONCE_SIZE, "big")
        if value(nonce) <= most:
            return nonce
    return None
