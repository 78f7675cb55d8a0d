"""Where streams of bytes are cut: values for :attr:`Internet.split`, which is asked at every read how many of the
bytes that have arrived it returns. A program that is right must not care.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, repeat
from random import Random

Split = Callable[[int], int]
"""Called with how many bytes could be read; answers how many are, at least 1."""


def byte_by_byte(available: int) -> int:
    """One byte at a time."""
    return 1


def random_split(seed: int) -> Split:
    """Cut at random: often after a few bytes, often not at all, sometimes anywhere."""
    rng = Random(seed)

    def split(available: int) -> int:
        return rng.choice((rng.randint(1, 16), available, rng.randint(1, available)))

    return split


def split_after(sizes: Iterable[int]) -> Split:
    """Cut after so many bytes at each read; when *sizes* has ended, not at all."""
    endless = chain(sizes, repeat(None))

    def split(available: int) -> int:
        size = next(endless)
        return available if size is None else size

    return split
