"""Effort under load: who wants to be introduced first has looked for a number (docs/protocol-onion, Puzzles).

A solution of effort *e* takes *e* hashes on average to find and one to check. Native programs are about twenty times as
fast as this one at it, so it is a hurdle and not a wall; whoever floods pays for each introduction all the same. The
introduction point checks it before it lets anybody pass, the service once more: either of the two may lie.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from torpydo.crypto import Person
from torpydo.tpdp import NONCE_SIZE, Proof

__all__ = ["LEAST_EFFORT", "MOST_EFFORT", "proves", "solve"]

LEAST_EFFORT: Final = 1 << 12
"""What a service suggests at the least, if it suggests any: nothing that a user would notice."""
MOST_EFFORT: Final = 1 << 21
"""What a service suggests, and a client spends, at the most: a descriptor must not keep its readers busy for hours."""
_WHOLE: Final = 1 << 64
_NONCES: Final = 1 << 8 * NONCE_SIZE


def _hash(seed: bytes, message: bytes) -> Callable[[bytes], int]:
    begun = blake2b(seed + message, digest_size=8, person=Person.PUZZLE.value)

    def value(nonce: bytes) -> int:
        one = begun.copy()
        one.update(nonce)
        return int.from_bytes(one.digest(), "big")

    return value


def proves(seed: bytes, message: bytes, proof: Proof) -> bool:
    """Whether *proof* holds.

    :param seed: 32 bytes, of the introduction point
    :param message: the client message that it was made for
    """
    return _hash(seed, message)(proof.nonce) * proof.effort < _WHOLE


def solve(seed: bytes, message: bytes, effort: int, start: bytes, tries: int) -> bytes | None:
    """Look for the nonce of a proof; ``None`` if none of so many is one: go on with another *start* then.

    :param start: 16 random bytes to begin with
    """
    value = _hash(seed, message)
    number = int.from_bytes(start, "big")
    most = (_WHOLE - 1) // effort if effort else _WHOLE
    for step in range(tries):
        nonce = ((number + step) % _NONCES).to_bytes(NONCE_SIZE, "big")
        if value(nonce) <= most:
            return nonce
    return None
