"""Items: what the DHT keeps, signed and versioned by whoever has the key (docs/protocol-dht, Items).

Nobody can make one for another's key, and of two the higher sequence counts everywhere. A holder checks each before it
keeps or hands on anything.
"""

from __future__ import annotations

from typing import Final, Protocol, Self

import attrs

from torpydo.crypto import KEY_SIZE, SIGNATURE_SIZE, Person, Purpose, VerifyKey, blake
from torpydo.errors import BadKey, BadSignature, LocalProtocolError
from torpydo.wire import Malformed, NeedMore, Reader, Writer

__all__ = ["MAX_LIFE", "MAX_SALT", "MAX_VALUE", "OVERHEAD", "Item", "Signer", "target_of"]

MAX_SALT: Final = 64
MAX_VALUE: Final = 4096
"""Bytes; the descriptor of an onion service fits (SECURITY K4)."""
MAX_SEQUENCE: Final = 2**63 - 1
MAX_LIFE: Final = 3 * 86_400
"""Seconds that an item may be kept without its owner's saying it again; holders repeat it to each other until then."""
OVERHEAD: Final = 1024
"""Bytes that an item takes besides its salt and its value: what a flood of empty ones would cost."""


class Signer(Protocol):
    """Who owns a key: a ``crypto.SigningKey`` or a blinded one."""

    def sign(self, purpose: Purpose, data: bytes) -> bytes: ...


def target_of(key: bytes, salt: bytes = b"") -> bytes:
    """The 32 bytes that say where an item is kept."""
    return blake(key + salt, Person.TARGET)


@attrs.frozen
class Item:
    """One version of what is kept under a key and a salt.

    :ivar key: 32 bytes that the signature is checked with
    :ivar salt: several items of one key have several salts
    :ivar sequence: the higher one counts
    :ivar expires: seconds since 1970, after which it is kept no longer
    :ivar value: at most 4096 bytes; empty takes an item back
    """

    key: bytes
    salt: bytes
    sequence: int
    expires: int
    value: bytes = attrs.field(repr=False)
    signature: bytes = attrs.field(repr=False)
    target: bytes = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "target", target_of(self.key, self.salt))

    @classmethod
    def make(cls, signer: Signer, key: bytes, salt: bytes, sequence: int, expires: int, value: bytes) -> Self:
        """Sign one.

        :param key: the public half of *signer*
        :raises LocalProtocolError: if something is too long
        """
        if len(salt) > MAX_SALT or len(value) > MAX_VALUE or not 0 <= sequence <= MAX_SEQUENCE:
            raise LocalProtocolError(
                f"an item has a salt of at most {MAX_SALT} bytes, a value of at most {MAX_VALUE}, a sequence of 63 bits"
            )
        signature = signer.sign(Purpose.ITEM, _body(salt, sequence, expires, value))
        return cls(key, salt, sequence, expires, value, signature)

    def check(self) -> None:
        """See that it was signed by the owner of its key; takes a tenth of a millisecond.

        :raises BadSignature: if it was not
        """
        try:
            key = VerifyKey(self.key)
        except BadKey:
            raise BadSignature("an item whose key is none") from None
        key.verify(Purpose.ITEM, _body(self.salt, self.sequence, self.expires, self.value), self.signature)

    def replaces(self, other: Item | None) -> bool:
        """Whether it counts where *other* has counted so far."""
        return other is None or self.sequence > other.sequence

    @property
    def size(self) -> int:
        """Bytes of memory that it counts for."""
        return len(self.salt) + len(self.value) + OVERHEAD

    def encode(self) -> bytes:
        """Key ‖ signature ‖ what is signed."""
        return self.key + self.signature + _body(self.salt, self.sequence, self.expires, self.value)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read one to the end of *reader*; its signature is not looked at.

        :raises Malformed: if it is none
        """
        try:
            key, signature = reader.take(KEY_SIZE), reader.take(SIGNATURE_SIZE)
            size = reader.u8()
            if size > MAX_SALT:
                raise Malformed("an item with a salt that is too long")
            salt, sequence, expires = reader.take(size), reader.u64(), reader.u64()
        except NeedMore:
            raise Malformed("an item that is too short") from None
        value = reader.take(reader.remaining)
        if sequence > MAX_SEQUENCE or len(value) > MAX_VALUE:
            raise Malformed("an item with a sequence or a value beyond the limit")
        return cls(key, salt, sequence, expires, value, signature)


def _body(salt: bytes, sequence: int, expires: int, value: bytes) -> bytes:
    return Writer().u8(len(salt)).put(salt).u64(sequence).u64(expires).put(value).getvalue()
