"""Presence records: who is there, signed by the key of an onion name (docs/protocol-peers, Records).

A record has cost its owner some work, which is looked at before the signature: what was made in vain costs whoever is
sent it one hash. The work is of all its bytes, so each forged signature that shall be looked at costs as much. Nobody
can make a record for another's name; the newest of a name counts.
"""

from __future__ import annotations

from enum import Flag
from hashlib import blake2b
from typing import Final, Self

import attrs

from torpydo.crypto import KEY_SIZE, SIGNATURE_SIZE, Person, Purpose, SigningKey, VerifyKey, blake
from torpydo.errors import BadKey, BadSignature, LocalProtocolError
from torpydo.onion import OnionName
from torpydo.wire import Malformed, NeedMore, Reader, Writer

__all__ = [
    "MAX_DIFFICULTY",
    "MAX_LIFE",
    "MAX_NOTE",
    "MAX_RECORD",
    "MAX_TOPIC",
    "NONCE_SIZE",
    "PORT",
    "Claim",
    "Presence",
    "Role",
    "Search",
]

FORMAT: Final = 1
PORT: Final = 8733
"""The port of a service at which peers exchange records, unless another one is said."""
MAX_TOPIC: Final = 32
MAX_NOTE: Final = 128
MAX_LIFE: Final = 6 * 3600
"""Seconds: who has gone is named by others no longer than that."""
MAX_TIMESTAMP: Final = 2**63 - 1
NONCE_SIZE: Final = 8
WORK_BITS: Final = 64
MAX_DIFFICULTY: Final = 40
"""Bits: hours of work for a native program."""
MAX_RECORD: Final = 1 + KEY_SIZE + 1 + 8 + 2 + 2 + 1 + MAX_TOPIC + 1 + MAX_NOTE + NONCE_SIZE + SIGNATURE_SIZE


class Role(Flag):
    """What a peer does; it may do both."""

    PARTICIPANT = 1
    """It uses the application."""
    ROUTER = 2
    """It works for others as well, in whatever way the application means that."""


@attrs.frozen
class Claim:
    """What a peer says of itself.

    :ivar key: of its onion name, 32 bytes
    :ivar topic: which application's peers it belongs to, 1..32 bytes
    :ivar roles: one at the least
    :ivar timestamp: seconds since 1970; of two records of a name the later one counts
    :ivar life: seconds from then on for which the record holds
    :ivar port: of its service, where records are exchanged
    :ivar note: the application's own, at most 128 bytes
    """

    key: bytes
    topic: bytes
    roles: Role
    timestamp: int
    life: int
    port: int = PORT
    note: bytes = b""

    @property
    def expires(self) -> int:
        """Seconds since 1970."""
        return self.timestamp + self.life

    def check(self) -> None:
        """See that others would take it.

        :raises LocalProtocolError: if something is too long, or missing
        """
        wrong = self._wrong()
        if wrong is not None:
            raise LocalProtocolError(f"a presence record {wrong}")

    def _wrong(self) -> str | None:
        if not 1 <= len(self.topic) <= MAX_TOPIC or len(self.note) > MAX_NOTE:
            return f"has a topic of 1 to {MAX_TOPIC} bytes and a note of at most {MAX_NOTE}"
        if not self.roles or not 1 <= self.port <= 65535:
            return "has a role, and a port of 1 to 65535"
        if not 1 <= self.life <= MAX_LIFE or not 0 <= self.timestamp <= MAX_TIMESTAMP:
            return f"has a time, and a life of 1 to {MAX_LIFE} seconds"
        return None

    def encode(self) -> bytes:
        """format u8 ‖ key ‖ roles u8 ‖ timestamp u64 ‖ life u16 ‖ port u16 ‖ size u8 ‖ topic ‖ size u8 ‖ note."""
        writer = Writer().u8(FORMAT).put(self.key).u8(self.roles.value).u64(self.timestamp).u16(self.life)
        writer.u16(self.port).u8(len(self.topic)).put(self.topic).u8(len(self.note)).put(self.note)
        return writer.getvalue()

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read one from the front of *reader*.

        :raises Malformed: if it is none
        :raises NeedMore: if it is cut off
        """
        if reader.u8() != FORMAT:
            raise Malformed("a presence record of a format that is not known")
        key, roles, timestamp = reader.take(KEY_SIZE), reader.u8(), reader.u64()
        life, port = reader.u16(), reader.u16()
        topic = reader.take(reader.u8())
        note = reader.take(reader.u8())
        try:
            claim = cls(key, topic, Role(roles), timestamp, life, port, note)
        except ValueError:
            raise Malformed("a presence record with a role that is not known") from None
        wrong = claim._wrong()
        if wrong is not None:
            raise Malformed(f"every presence record {wrong}; this one does not")
        return claim


@attrs.frozen
class Presence:
    """A record: a claim with its work and its signature."""

    claim: Claim
    signature: bytes = attrs.field(repr=False)
    nonce: bytes = attrs.field(default=bytes(NONCE_SIZE), repr=False)
    # As it has come. A copy with something else in it has none of its own.
    _data: bytes = attrs.field(default=b"", init=False, eq=False, repr=False)

    @classmethod
    def make(cls, claim: Claim, key: SigningKey) -> Self:
        """Sign one. It has no work yet: :class:`Search` looks for that.

        :raises LocalProtocolError: if others would not take it
        """
        claim.check()
        return cls(claim, key.sign(Purpose.PRESENCE, claim.encode()))

    def has_work(self, difficulty: int) -> bool:
        """Whether so many bits at the front of its hash are zero. One hash, long before the signature."""
        hashed = blake(self.encode(), Person.PRESENCE, size=WORK_BITS // 8)
        return int.from_bytes(hashed, "big").bit_length() <= WORK_BITS - difficulty

    def check(self) -> OnionName:
        """See that whoever has the name has signed it; takes a fifth of a millisecond.

        :raises BadSignature: if nobody has
        """
        try:
            key = VerifyKey(self.claim.key)
        except BadKey:
            raise BadSignature("a presence record of a name that nobody can have") from None
        key.verify(Purpose.PRESENCE, self.claim.encode(), self.signature)
        return OnionName(key)

    def encode(self) -> bytes:
        """claim ‖ signature ‖ nonce."""
        return self._data or self.claim.encode() + self.signature + self.nonce

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read one; neither work nor signature is looked at.

        :raises Malformed: if it is none
        """
        reader = Reader(data)
        try:
            found = cls(Claim.read(reader), reader.take(SIGNATURE_SIZE), reader.take(NONCE_SIZE))
        except NeedMore:
            raise Malformed("a presence record that is too short") from None
        reader.finish()
        # It is read once, and hashed, compared and handed on many times.
        object.__setattr__(found, "_data", bytes(data))
        return found


class Search:
    """Looks for the work of a record that is signed, some tries at a time.

    :param difficulty: bits; each more doubles the work
    :param start: 8 random bytes to begin with
    :ivar tried: how many tries were made
    """

    def __init__(self, presence: Presence, difficulty: int, start: bytes) -> None:
        self._presence = presence
        self._most = 1 << WORK_BITS - difficulty
        before = presence.encode()[:-NONCE_SIZE]
        self._begun = blake2b(before, digest_size=WORK_BITS // 8, person=Person.PRESENCE.value)
        self._next = int.from_bytes(start, "big")
        self.tried = 0

    def go_on(self, tries: int) -> Presence | None:
        """Make so many tries; the record with its work, or ``None`` if that is not among them."""
        for _ in range(tries):
            nonce = self._next.to_bytes(NONCE_SIZE, "big")
            self._next = (self._next + 1) % (1 << 8 * NONCE_SIZE)
            self.tried += 1
            one = self._begun.copy()
            one.update(nonce)
            if int.from_bytes(one.digest(), "big") < self._most:
                return attrs.evolve(self._presence, nonce=nonce)
        return None
