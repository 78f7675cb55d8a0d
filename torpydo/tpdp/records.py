"""Link records: a sealed length, then sealed whole frames, under a counter that never goes back.

Source: docs/protocol, section Records. Two objects, one a direction; they know nothing of frames but their sum.
"""

from __future__ import annotations

from enum import IntEnum

from torpydo.crypto import (
    AEGIS_OVERHEAD,
    MAC_SIZE,
    Person,
    aegis_open,
    aegis_seal,
    blake,
    open_sealed,
    record_nonce,
    seal,
)
from torpydo.tpdp.constants import BODY_SIZE, HEADER_SIZE, MAX_RECORD_FRAMES, RECORD_RATCHET
from torpydo.wire import Malformed

LENGTH_SIZE = 3 + MAC_SIZE
"""Bytes of the sealed length."""


class Cipher(IntEnum):
    """What seals the frames of a record."""

    SECRETBOX = 1
    AEGIS256 = 2

    @property
    def overhead(self) -> int:
        """Bytes that a sealed part is longer than its frames."""
        return MAC_SIZE if self is Cipher.SECRETBOX else AEGIS_OVERHEAD


class _RecordKey:
    """A key with its counter and its ratchet."""

    __slots__ = ("_aegis", "_key", "cipher", "counter")

    def __init__(self, key: bytes, cipher: Cipher, counter: int = 0) -> None:
        self.cipher = cipher
        self.counter = counter
        self._use(key)

    def _use(self, key: bytes) -> None:
        self._key = bytes(key)
        self._aegis = blake(b"", Person.AEGIS, key=key) if self.cipher is Cipher.AEGIS256 else b""

    def _advance(self) -> None:
        # A record takes two seals, so the counter is even here; the ratchet's multiple is even too.
        self.counter += 2
        if self.counter % RECORD_RATCHET == 0:
            self._use(blake(b"", Person.RATCHET, key=self._key))


class RecordSealer(_RecordKey):
    """The sending direction of a link."""

    __slots__ = ()

    def seal(self, frames: bytes) -> bytes:
        """Make one record of *frames*, 1..65556 bytes of whole frames."""
        counter = self.counter
        key = self._key
        if self.cipher is Cipher.SECRETBOX:
            body = seal(frames, record_nonce(counter + 1), key)
        else:
            body = aegis_seal(frames, counter + 1, self._aegis)
        head = seal(len(body).to_bytes(3, "big"), record_nonce(counter), key)
        self._advance()
        return head + body


class RecordOpener(_RecordKey):
    """The receiving direction of a link: bytes in any pieces go in, frames of whole records come out."""

    __slots__ = ("_buffer", "_wanted")

    def __init__(self, key: bytes, cipher: Cipher, counter: int = 0) -> None:
        super().__init__(key, cipher, counter)
        self._buffer = bytearray()
        self._wanted = 0

    @property
    def buffered(self) -> int:
        """Bytes that wait for the rest of their record."""
        return len(self._buffer)

    def receive(self, data: bytes) -> list[bytes]:
        """Take what was read; gives the frames of each record that is now whole.

        :raises DecryptionFailed: if a record was altered, replayed or reordered
        :raises Malformed: if a length cannot be one; nothing of that record was buffered
        """
        buffer: bytes | bytearray = data
        if self._buffer:
            self._buffer += data
            buffer = self._buffer
        position = 0
        end = len(buffer)
        records: list[bytes] = []
        overhead = self.cipher.overhead
        while True:
            if not self._wanted:
                if end - position < LENGTH_SIZE:
                    break
                sealed = bytes(buffer[position : position + LENGTH_SIZE])
                wanted = int.from_bytes(open_sealed(sealed, record_nonce(self.counter), self._key), "big")
                # The smallest record holds one frame; a length outside can only come from a broken peer.
                if not HEADER_SIZE + BODY_SIZE <= wanted - overhead <= MAX_RECORD_FRAMES:
                    raise Malformed(f"a record of {wanted} bytes")
                self._wanted = wanted
                position += LENGTH_SIZE
            stop = position + self._wanted
            if end < stop:
                break
            body = bytes(buffer[position:stop])
            position = stop
            if self.cipher is Cipher.SECRETBOX:
                frames = open_sealed(body, record_nonce(self.counter + 1), self._key)
            else:
                frames = aegis_open(body, self.counter + 1, self._aegis)
            self._wanted = 0
            self._advance()
            records.append(frames)
        if buffer is self._buffer:
            del self._buffer[:position]
        elif position < end:
            self._buffer += data[position:]
        return records
