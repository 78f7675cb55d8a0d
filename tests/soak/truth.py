"""What every transfer must bring: bytes that follow from a seed and an offset, so that nobody has to keep them."""

from __future__ import annotations

import hashlib

__all__ = ["Check", "Truth"]

# A block names its seed and its number, so one that comes twice, or from another transfer, is seen; the rest of it is
# a piece of hashed output, which begins somewhere else in each block.
_BLOCK = 16 * 1024
_HEAD = 16
_SHIFTS = 1 << 15
_FILL = hashlib.shake_256(b"torpydo soak").digest(_SHIFTS + _BLOCK)


class Truth:
    """The bytes of one seed.

    :param seed: 0 to 2**64 - 1
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._name = seed.to_bytes(8)

    def _block(self, number: int) -> bytes:
        begin = (self._seed * 31 + number * 2654435761) % _SHIFTS
        return self._name + number.to_bytes(8) + _FILL[begin : begin + _BLOCK - _HEAD]

    def read(self, offset: int, size: int) -> bytes:
        """The *size* bytes that begin at *offset*."""
        first, skipped = divmod(offset, _BLOCK)
        last = (offset + size + _BLOCK - 1) // _BLOCK
        data = b"".join([self._block(number) for number in range(first, last)])
        return data[skipped : skipped + size]


class Check:
    """Compares what comes with the truth, byte by byte.

    :ivar offset: how many bytes were right
    :ivar wrong_at: where the first wrong byte was; ``None`` as long as there is none
    """

    def __init__(self, seed: int, size: int) -> None:
        self._truth = Truth(seed)
        self._size = size
        self.offset = 0
        self.wrong_at: int | None = None

    @property
    def complete(self) -> bool:
        """Whether all of it has come, and nothing was wrong."""
        return self.wrong_at is None and self.offset == self._size

    def add(self, data: bytes) -> bool:
        """Take what came next.

        :returns: whether it was right; more than the size is wrong, too
        """
        if self.wrong_at is not None:
            return False
        due = self._truth.read(self.offset, min(len(data), self._size - self.offset))
        if data == due:
            self.offset += len(data)
            return True
        same = next((place for place, (a, b) in enumerate(zip(data, due, strict=False)) if a != b), len(due))
        self.wrong_at = self.offset + same
        return False
