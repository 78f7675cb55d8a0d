"""Integers drawn from random bytes: what jitter and the choice between addresses need.

Called by parts and workers, and by the doubles of a network.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["make_randbelow"]


def make_randbelow(rng: Callable[[int], bytes]) -> Callable[[int], int]:
    """A uniform integer below its argument, made from random bytes. The bias is below 2^-64 for a 64-bit argument."""
    return lambda below: int.from_bytes(rng(16), "big") % below
