"""What participants ask each other, and answer (docs/protocol-dht, Questions). Encode and decode stand side by side.

A question and its answer each go in a frame of ``length u16 ‖ kind u8 ‖ …``, one after the other on a stream.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Self

import attrs

from torpydo.crypto import KEY_SIZE
from torpydo.dht.contacts import WIDTH
from torpydo.dht.items import Item
from torpydo.dht.storage import Verdict
from torpydo.wire import Malformed, NeedMore, Reader, add_length, take_one

__all__ = [
    "DHT_HOST",
    "DHT_PORT",
    "MAX_FRAME",
    "Find",
    "Found",
    "Put",
    "PutAnswer",
    "Question",
    "decode_question",
    "frame",
    "take_frame",
]

DHT_HOST: Final = "@dht"
"""What the BEGIN of a stream with questions names: no name of a host has such a letter."""
DHT_PORT: Final = 1
MAX_FRAME: Final = 8192
"""Bytes of a frame after its length: an item and the nodes that are closer fit."""


class Kind(IntEnum):
    """What a frame is."""

    FIND = 1
    PUT = 2
    FOUND = 129
    PUT_ANSWER = 130


@attrs.frozen
class Find:
    """Which nodes are closest to a target; and, if it is wanted, the item that is kept for it."""

    target: bytes
    wants_item: bool = False

    def encode(self) -> bytes:
        """kind ‖ target ‖ wanted u8."""
        return bytes((Kind.FIND,)) + self.target + bytes((self.wants_item,))


@attrs.frozen
class Put:
    """An item to keep."""

    item: Item

    def encode(self) -> bytes:
        """kind ‖ item."""
        return bytes((Kind.PUT,)) + self.item.encode()


Question = Find | Put


def decode_question(data: bytes) -> Question:
    """Read a question.

    :raises Malformed: if it is none
    """
    reader = Reader(data)
    try:
        kind = reader.u8()
        if kind == Kind.PUT:
            return Put(Item.read(reader))
        if kind != Kind.FIND:
            raise Malformed(f"a question of kind {kind}")
        target, wanted = reader.take(KEY_SIZE), reader.u8()
    except NeedMore:
        raise Malformed("a question that is too short") from None
    if wanted > 1:
        raise Malformed("a question that neither wants an item nor does not")
    reader.finish()
    return Find(target, bool(wanted))


@attrs.frozen
class Found:
    """The answer to :class:`Find`: nodes by their ids, the closest first, and the item."""

    nodes: tuple[bytes, ...]
    item: Item | None = None

    def encode(self) -> bytes:
        """kind ‖ count u8 ‖ node ids ‖ item."""
        item = b"" if self.item is None else self.item.encode()
        return bytes((Kind.FOUND, len(self.nodes))) + b"".join(self.nodes) + item

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read one; the item's signature is not looked at.

        :raises Malformed: if it is none
        """
        reader = Reader(data)
        try:
            if reader.u8() != Kind.FOUND:
                raise Malformed("an answer to another question")
            count = reader.u8()
            if count > WIDTH:
                raise Malformed(f"an answer with {count} nodes")
            named = reader.take(count * KEY_SIZE)
        except NeedMore:
            raise Malformed("an answer that is too short") from None
        nodes = tuple([named[start : start + KEY_SIZE] for start in range(0, len(named), KEY_SIZE)])
        return cls(nodes, Item.read(reader) if reader.remaining else None)


@attrs.frozen
class PutAnswer:
    """The answer to :class:`Put`."""

    verdict: Verdict

    def encode(self) -> bytes:
        """kind ‖ verdict u8."""
        return bytes((Kind.PUT_ANSWER, self.verdict.value))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read one.

        :raises Malformed: if it is none
        """
        if len(data) != 2 or data[0] != Kind.PUT_ANSWER or data[1] >= len(Verdict):
            raise Malformed("an answer to another question")
        return cls(Verdict(data[1]))


def frame(data: bytes) -> bytes:
    """A message with its length."""
    return add_length(data)


def take_frame(buffer: bytearray) -> bytes | None:
    """Take the first message off *buffer*; ``None`` if it is not whole yet.

    :raises Malformed: if it is longer than any
    """
    return take_one(buffer, MAX_FRAME)
