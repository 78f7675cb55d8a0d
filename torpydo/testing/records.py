"""Where the records of a TPDP link end, for whoever has the keys: their lengths are sealed like everything else.

A proxy alone cannot know it. One of the two ends must be the test's own (an evil end, or in memory any end): it gives
its :class:`~torpydo.tpdp.Link`, and with it the keys. Source: docs/protocol, sections Handshake and Records.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from torpydo.crypto import Person, blake, open_sealed, record_nonce
from torpydo.errors import DecryptionFailed
from torpydo.testing.faults import FaultError
from torpydo.tpdp import Link

SEALED_LENGTH: Final = 3 + 16
"""u24 and its MAC."""
RATCHET: Final = 1 << 17
"""Seals under one key; a record takes two."""


@attrs.frozen
class Piece:
    """Bytes of one record.

    :ivar ends: whether the record is whole with them
    """

    data: bytes
    record: int
    ends: bool


@attrs.define(eq=False)
class RecordReader:
    """Follows one direction of a link.

    :ivar counter: seals that were made before the record that comes
    """

    _key: bytes = attrs.field(repr=False)
    counter: int
    _head: bytearray = attrs.Factory(bytearray)
    _left: int = 0

    @property
    def number(self) -> int:
        """Of the record that is under way, or that comes next."""
        return self.counter // 2

    def cut(self, data: bytes) -> list[Piece]:
        """Cut what comes next at the ends of records.

        :raises FaultError: if the bytes are not what this link sends next
        """
        pieces = []
        while data:
            missing = self._left or SEALED_LENGTH - len(self._head)
            piece, data = data[:missing], data[missing:]
            ends = False
            if self._left:
                self._left -= len(piece)
                ends = not self._left
            else:
                self._head += piece
                if len(self._head) == SEALED_LENGTH:
                    self._left = self._length()
                    self._head.clear()
            pieces.append(Piece(piece, self.number, ends))
            if ends:
                self._advance()
        return pieces

    def _length(self) -> int:
        try:
            return int.from_bytes(open_sealed(bytes(self._head), record_nonce(self.counter), self._key), "big")
        except DecryptionFailed:
            raise FaultError(
                f"record {self.number} of a link does not open;"
                " let the proxy know the link while nothing is under way on it"
            ) from None

    def _advance(self) -> None:
        self.counter += 2
        if self.counter % RATCHET == 0:
            self._key = blake(b"", Person.RATCHET, key=self._key)


def record_readers(link: Link) -> tuple[RecordReader, RecordReader]:
    """What reads the records of *link* from now on: those to the side that was connected to, then those back.

    :param link: either end, while nothing of what it sent or is to receive is under way
    :raises FaultError: if its handshake is not done, or it is closed
    """
    # Private, and meant: an evil end has its own keys.
    sealer: Any = link._sealer
    opener: Any = link._opener
    if sealer is None or opener is None:
        raise FaultError("a link has records from the end of its handshake until it is closed")
    sent, received = (RecordReader(bytes(each._key), each.counter) for each in (sealer, opener))
    return (sent, received) if link.is_initiator else (received, sent)
