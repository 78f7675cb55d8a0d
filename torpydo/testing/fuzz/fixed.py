"""Keys, clock and randomness that are the same in every run: an input means the same for ever."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import shake_128
from itertools import count
from typing import Final

from torpydo.crypto import DHSecretKey, Secret, SigningKey

__all__ = ["CLIENT_NODE", "NODE", "NOW", "ONION", "POOL", "fixed_rng"]

NOW: Final = 1_800_000_000
"""Seconds since 1970 in every wall clock here."""

NODE: Final = SigningKey(Secret(b"n" * 32))
"""The node that is spoken to."""
CLIENT_NODE: Final = SigningKey(Secret(b"c" * 32))
"""A node that opens links to it."""
ONION: Final = DHSecretKey(Secret(b"o" * 32))
"""Its onion key."""
POOL: Final = SigningKey(Secret(b"p" * 32))
"""The pool that lists it."""


def fixed_rng(name: bytes = b"") -> Callable[[int], bytes]:
    """Random bytes, the same ones for the same *name*."""
    numbers = count()
    return lambda size: shake_128(name + next(numbers).to_bytes(8, "big")).digest(size)
