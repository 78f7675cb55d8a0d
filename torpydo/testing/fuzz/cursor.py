"""How a stateful entry point reads its input: as a script, from the front; after its end everything is 0.

A byte more or less at one place leaves the rest of the script meaningful, which is what a mutating fuzzer needs.
"""

from __future__ import annotations

from itertools import cycle, islice
from typing import Final

__all__ = ["Cursor", "cut", "scripted"]

MOST_READS: Final = 1500
"""Reads that one input may ask for: those of a long head or a whole cell, byte by byte."""


class Cursor:
    """Reads an input from its front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def ended(self) -> bool:
        """Whether nothing is left."""
        return self._position >= len(self._data)

    def byte(self) -> int:
        """One byte."""
        return self.number(1)

    def number(self, size: int) -> int:
        """An unsigned integer of *size* bytes."""
        return int.from_bytes(self.take(size).ljust(size, b"\0"), "big")

    def take(self, count: int) -> bytes:
        """So many bytes, fewer at the end."""
        start = self._position
        self._position = min(start + count, len(self._data))
        return self._data[start : self._position]

    def short(self) -> bytes:
        """Bytes with their length in front, in one byte."""
        return self.take(self.byte())

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.take(len(self._data))


def cut(data: bytes, sizes: bytes) -> list[bytes]:
    """*data* as reads bring it: each of *sizes* is a read of one byte more than its number, again and again.

    Without *sizes* it comes at once; and so does what is left after :data:`MOST_READS`.
    """
    pieces: list[bytes] = []
    position = 0
    for size in islice(cycle(sizes), MOST_READS):
        if position >= len(data):
            break
        pieces.append(data[position : position + size + 1])
        position += size + 1
    rest = data[position:]
    return [*pieces, rest] if rest else pieces


def scripted(data: bytes) -> bytes:
    """*data* as :meth:`Cursor.short` reads it."""
    return bytes((len(data),)) + data
