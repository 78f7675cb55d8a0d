"""Cursors for reading and writing bytes. They know no protocol.

All fixed-size binary work of the project goes through :class:`Reader` and :class:`Writer`; integers are
big-endian. A reader never guesses: it returns the value, raises :class:`NeedMore` when the bytes end too
early, or raises :class:`Malformed`. Called by crypto, tpdp, directory and the proxies.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from torpydo.errors import RemoteProtocolError

__all__ = ["Malformed", "NeedMore", "Reader", "Writer", "add_length", "take_one"]


class NeedMore(Exception):
    """The buffer ends before the value does.

    :ivar missing: how many more bytes are needed at the least
    """

    def __init__(self, missing: int) -> None:
        super().__init__(f"{missing} more bytes are needed")
        self.missing = missing


class Malformed(RemoteProtocolError):
    """Bytes from outside do not have the form they must have."""


class Reader:
    """Read values from the front of a buffer.

    :param data: the whole buffer; it is not copied until bytes are taken
    """

    __slots__ = ("_data", "_end", "_position")

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = memoryview(data)
        self._position = 0
        self._end = len(self._data)

    @property
    def position(self) -> int:
        """How many bytes were consumed."""
        return self._position

    @property
    def remaining(self) -> int:
        """How many bytes are left."""
        return self._end - self._position

    def view(self, count: int) -> memoryview:
        """Take *count* bytes without copying them."""
        stop = self._position + count
        if stop > self._end:
            raise NeedMore(stop - self._end)
        part = self._data[self._position : stop]
        self._position = stop
        return part

    def take(self, count: int) -> bytes:
        """Take *count* bytes."""
        return bytes(self.view(count))

    def integer(self, size: int) -> int:
        """Take an unsigned integer of *size* bytes."""
        return int.from_bytes(self.view(size), "big")

    def u8(self) -> int:
        """Take an unsigned integer of one byte."""
        return self.integer(1)

    def u16(self) -> int:
        """Take an unsigned integer of two bytes."""
        return self.integer(2)

    def u32(self) -> int:
        """Take an unsigned integer of four bytes."""
        return self.integer(4)

    def u64(self) -> int:
        """Take an unsigned integer of eight bytes."""
        return self.integer(8)

    def u64s(self, count: int) -> tuple[int, ...]:
        """Take so many unsigned integers of eight bytes: many times faster than one by one."""
        return struct.unpack(f">{count}Q", self.view(8 * count))

    def until_zero(self) -> bytes:
        """Take the bytes before the next one that is 0, and that one too; it is not part of the value."""
        rest = bytes(self._data[self._position :])
        size = rest.find(0)
        if size < 0:
            raise NeedMore(1)
        self._position += size + 1
        return rest[:size]

    def rest(self) -> bytes:
        """Take everything that is left."""
        return self.take(self.remaining)

    def zeros(self) -> None:
        """Take everything that is left and insist that it is all zero.

        :raises Malformed: if another byte is among it
        """
        if any(self.view(self.remaining)):
            raise Malformed("a byte other than 0 in the fill")

    def finish(self) -> None:
        """Insist that nothing is left.

        :raises Malformed: if something is
        """
        if self.remaining:
            raise Malformed(f"{self.remaining} bytes too many")


class Writer:
    """Collect values and join them once."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def put(self, data: bytes) -> Writer:
        """Append *data* as it is."""
        self._parts.append(data)
        return self

    def integer(self, value: int, size: int) -> Writer:
        """Append an unsigned integer of *size* bytes.

        :raises OverflowError: if it does not fit
        """
        self._parts.append(value.to_bytes(size, "big"))
        return self

    def u8(self, value: int) -> Writer:
        """Append an unsigned integer of one byte."""
        return self.integer(value, 1)

    def u16(self, value: int) -> Writer:
        """Append an unsigned integer of two bytes."""
        return self.integer(value, 2)

    def u32(self, value: int) -> Writer:
        """Append an unsigned integer of four bytes."""
        return self.integer(value, 4)

    def u64(self, value: int) -> Writer:
        """Append an unsigned integer of eight bytes."""
        return self.integer(value, 8)

    def u64s(self, values: Sequence[int]) -> Writer:
        """Append unsigned integers of eight bytes.

        :raises OverflowError: if one does not fit
        """
        try:
            return self.put(struct.pack(f">{len(values)}Q", *values))
        except struct.error:
            raise OverflowError("an integer that does not fit in eight bytes") from None

    def getvalue(self) -> bytes:
        """Everything that was appended, joined."""
        return b"".join(self._parts)


def add_length(data: bytes) -> bytes:
    """Length u16 ‖ *data*: one of several that follow each other on a stream."""
    return Writer().u16(len(data)).put(data).getvalue()


def take_one(buffer: bytearray, most: int) -> bytes | None:
    """Take the first of them off *buffer*; ``None`` if it is not whole yet.

    :raises Malformed: if it is empty, or longer than *most* bytes
    """
    if len(buffer) < 2:
        return None
    size = int.from_bytes(buffer[:2], "big")
    if not 1 <= size <= most:
        raise Malformed(f"a message of {size} bytes")
    if len(buffer) < 2 + size:
        return None
    data = bytes(buffer[2 : 2 + size])
    del buffer[: 2 + size]
    return data
