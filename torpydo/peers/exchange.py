"""What two peers say to each other on a stream (docs/protocol-peers, Exchange). Encode and decode stand side by side.

::

    who dialled                          who was dialled
    HELLO ‖ WANT  ───────────────────>
                  <───────────────────   HELLO ‖ RECORDS

Only who dialled asks: it knows with whom it speaks, so a flood of records is somebody's, and nobody is sent any that
he has not asked for. Who is dialled learns one record, the caller's own.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, IntEnum, auto
from typing import Final

import attrs

from torpydo.peers.digest import DIGEST_ENTRY, SALT
from torpydo.peers.entries import Verdict
from torpydo.peers.presence import MAX_RECORD, Presence
from torpydo.peers.sources import STRANGERS
from torpydo.peers.table import MAX_DIGEST, Table
from torpydo.wire import Malformed, NeedMore, Reader, Writer, add_length, take_one

__all__ = ["MAX_FRAME", "Exchange", "Hello", "Records", "Want", "decode_message", "frame", "take_frame"]

VERSION: Final = 1
MAX_RECORDS: Final = 50
"""Records in an answer."""
MAX_FRAME: Final = 2 + SALT + MAX_DIGEST * DIGEST_ENTRY
"""Bytes of a frame after its length: the largest WANT; the largest RECORDS is smaller."""


class Kind(IntEnum):
    """What a frame is."""

    HELLO = 1
    WANT = 2
    RECORDS = 3


@attrs.frozen
class Hello:
    """The first message of both: a record of its own, or none of one who has no name.

    :ivar version: 1; a later one may add messages, and must not send them to one who says 1
    """

    record: bytes = b""
    version: int = VERSION

    def encode(self) -> bytes:
        """kind ‖ version u8 ‖ record."""
        return bytes((Kind.HELLO, self.version)) + self.record


@attrs.frozen
class Want:
    """So many records, without those that the digest names.

    :ivar salt: 8 random bytes
    :ivar digest: 8 bytes for each name
    """

    count: int
    salt: bytes
    digest: bytes = b""

    def encode(self) -> bytes:
        """kind ‖ count u8 ‖ salt ‖ digest."""
        return bytes((Kind.WANT, self.count)) + self.salt + self.digest


@attrs.frozen
class Records:
    """The answer."""

    records: tuple[bytes, ...]

    def encode(self) -> bytes:
        """kind ‖ count u8 ‖ for each its size u16 ‖ record."""
        writer = Writer().u8(Kind.RECORDS).u8(len(self.records))
        for record in self.records:
            writer.u16(len(record)).put(record)
        return writer.getvalue()


Message = Hello | Want | Records


def _read_hello(reader: Reader) -> Hello:
    version, record = reader.u8(), reader.rest()
    if not version or len(record) > MAX_RECORD:
        raise Malformed("a HELLO without a version, or with a record that is too long")
    return Hello(record, version)


def _read_want(reader: Reader) -> Want:
    count, salt, digest = reader.u8(), reader.take(SALT), reader.rest()
    if not 1 <= count <= MAX_RECORDS or len(digest) % DIGEST_ENTRY:
        raise Malformed(f"a WANT of {count} records")
    return Want(count, salt, digest)


def _read_records(reader: Reader) -> Records:
    count = reader.u8()
    if count > MAX_RECORDS:
        raise Malformed(f"an answer with {count} records")
    sizes_and_records = []
    for _ in range(count):
        size = reader.u16()
        if size > MAX_RECORD:
            raise Malformed("an answer with a record that is too long")
        sizes_and_records.append(reader.take(size))
    reader.finish()
    return Records(tuple(sizes_and_records))


_READERS: Final[dict[int, Callable[[Reader], Message]]] = {
    Kind.HELLO: _read_hello,
    Kind.WANT: _read_want,
    Kind.RECORDS: _read_records,
}


def decode_message(data: bytes) -> Message:
    """Read a message; records in it are not looked at.

    :raises Malformed: if it is none
    """
    reader = Reader(data)
    try:
        read = _READERS.get(reader.u8())
        if read is None:
            raise Malformed(f"a message of kind {data[0]}")
        return read(reader)
    except NeedMore:
        raise Malformed("a message that is too short") from None


def frame(message: Message) -> bytes:
    """A message with its length."""
    return add_length(message.encode())


def take_frame(buffer: bytearray) -> bytes | None:
    """Take the first message off *buffer*; ``None`` if it is not whole yet.

    :raises Malformed: if it is longer than any
    """
    return take_one(buffer, MAX_FRAME)


class Step(Enum):
    """What must come next."""

    HELLO = auto()
    WANT = auto()
    RECORDS = auto()
    NOTHING = auto()


@attrs.frozen
class Told:
    """What an exchange has brought.

    :ivar stored: records that are new
    :ivar bad: records that no honest peer would have brought
    """

    stored: int = 0
    bad: int = 0


class Exchange:
    """One exchange on one stream, at either end.

    :param name: the key of the name that was dialled; :data:`STRANGERS` at the end that was
    :param rng: bytes of randomness
    :ivar told: what it has brought so far
    """

    def __init__(self, table: Table, name: bytes, rng: Callable[[int], bytes]) -> None:
        self._table = table
        self._name = name
        self._buffer = bytearray()
        self._step = Step.HELLO
        self.told = Told()
        own = table.own_record
        self._out = bytearray(frame(Hello(b"" if own is None else own.encode())))
        if name != STRANGERS:
            salt = rng(SALT)
            self._out += frame(Want(MAX_RECORDS, salt, table.digest(salt)))
        # By what has come and what had to come; whatever is not here is a violation.
        self._moves: dict[tuple[Step, type], Callable[..., Step]] = {
            (Step.HELLO, Hello): self._greeted,
            (Step.WANT, Want): self._asked,
            (Step.RECORDS, Records): self._answered,
        }

    @property
    def is_over(self) -> bool:
        """Whether nothing is to come any more; what is still to be sent is there."""
        return self._step is Step.NOTHING

    def take_bytes(self) -> bytes:
        """What is to be sent now."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def receive_data(self, data: bytes) -> None:
        """Take what has come.

        :raises Malformed: if it is against the rules; whoever was dialled is blamed for it
        """
        self._buffer += data
        try:
            while (message := take_frame(self._buffer)) is not None:
                self._take(decode_message(message))
        except Malformed:
            self._step = Step.NOTHING
            self._table.sources.blame(self._name)
            raise

    def _take(self, message: Message) -> None:
        move = self._moves.get((self._step, type(message)))
        if move is None:
            raise Malformed(f"a {type(message).__name__} that does not belong here")
        self._step = move(message)

    def _greeted(self, hello: Hello) -> Step:
        if self._name == STRANGERS:
            # Who has no name has no record.
            if hello.record and self._offer(hello.record).is_bad:
                raise Malformed("a HELLO with a record that is none")
            return Step.WANT
        # Who answers under a name has that name's record: it was dialled because it has handed one out.
        if Presence.decode(hello.record).claim.key != self._name:
            raise Malformed("a HELLO with the record of another name")
        if self._offer(hello.record).is_bad:
            raise Malformed("a HELLO with a record that is none")
        self._table.talked(self._name)
        return Step.RECORDS

    def _asked(self, want: Want) -> Step:
        self._out += frame(Records(tuple(self._table.sample(want.count, want.salt, want.digest))))
        return Step.NOTHING

    def _answered(self, answer: Records) -> Step:
        for record in answer.records:
            self._offer(record)
        return Step.NOTHING

    def _offer(self, record: bytes) -> Verdict:
        verdict = self._table.offer(record, self._name)
        self.told = Told(self.told.stored + (verdict is Verdict.STORED), self.told.bad + verdict.is_bad)
        return verdict
