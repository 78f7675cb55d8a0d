"""Stamps: work that a node's identity, and with it its place in the DHT, has cost (SECURITY K1).

A stamp is a number and the proof that was computed from it; its bits are the leading zero bits of the proof. They can
be read off for nothing; that the proof is the right one takes one try to see. The proof is part of the stamp because
the place is made of the stamp: if it followed from the number alone, whoever wants a place would look for numbers that
lead there, at the price of a hash, and would work for those only. Called by node and pool.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from nacl.exceptions import RuntimeError as NaClRuntimeError
from nacl.pwhash import argon2id

from torpydo.crypto.keys import same
from torpydo.errors import CryptoError

__all__ = ["MAX_STAMP_BITS", "STAMP_SIZE", "Work", "claimed_bits", "find_stamp", "prove_work", "stamp_holds"]

_NUMBER_SIZE: Final = 8
_PROOF_SIZE: Final = 16
STAMP_SIZE: Final = _NUMBER_SIZE + _PROOF_SIZE
"""Bytes of a stamp: number (8) ‖ proof (16)."""
MAX_STAMP_BITS: Final = 24
"""Bits that a network may ask for: sixteen million tries, weeks of one core."""

# Another one for each node would change nothing: the node id is in what is hashed.
_SALT: Final = b"tpdp1 node stamp"
_OPSLIMIT: Final = 1
_MEMORY: Final = 64 << 20
"""Bytes that one try needs: what makes it as dear on special hardware as on a node's own (SECURITY K1)."""

Work = Callable[[bytes], bytes]
"""Makes the proof (16 bytes) of a node id and a number."""


def prove_work(data: bytes) -> bytes:
    """One try: Argon2id with 64 MiB. It keeps a core busy for a while, and lets other threads run meanwhile.

    :raises CryptoError: if there is not enough memory
    """
    try:
        proof: bytes = argon2id.kdf(_PROOF_SIZE, data, _SALT, opslimit=_OPSLIMIT, memlimit=_MEMORY)
    except NaClRuntimeError:
        raise CryptoError("there is not enough memory for a stamp: it takes 64 MiB") from None
    return proof


def claimed_bits(stamp: bytes) -> int:
    """The bits of a stamp, if it holds; 0 for an empty one."""
    proof = stamp[_NUMBER_SIZE:]
    return 8 * len(proof) - int.from_bytes(proof, "big").bit_length()


def stamp_holds(node_id: bytes, stamp: bytes, work: Work = prove_work) -> bool:
    """Whether a stamp is the node's own and its proof the right one; an empty stamp holds, and has no bits.

    :param work: for simulations, which have a cheaper one
    :raises CryptoError: if there is not enough memory
    """
    if not stamp:
        return True
    return same(work(node_id + stamp[:_NUMBER_SIZE]), stamp[_NUMBER_SIZE:])


def find_stamp(node_id: bytes, bits: int, first: int, tries: int, work: Work = prove_work) -> bytes | None:
    """Look for a stamp of so many bits; 2 ** *bits* tries are needed on average.

    :param first: the number to begin with
    :param tries: how many numbers are tried
    :return: the stamp, ``None`` if none was found
    :raises CryptoError: if there is not enough memory
    """
    for count in range(tries):
        number = ((first + count) % 2 ** (8 * _NUMBER_SIZE)).to_bytes(_NUMBER_SIZE, "big")
        stamp: bytes = number + work(node_id + number)
        if claimed_bits(stamp) >= bits:
            return stamp
    return None
