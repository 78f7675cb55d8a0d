"""What a table keeps on disk, so that it finds its peers again without those it once began with.

It has the peers that were met, and this peer's own record: to work for a new one may take long. Nothing in it is
believed that would not be believed from a stranger: signatures and times are looked at again (``Table.restore``).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

import attrs
import msgspec

from torpydo.crypto import with_hash, without_hash
from torpydo.errors import StateError
from torpydo.peers.presence import MAX_RECORD, NONCE_SIZE, Presence
from torpydo.wire import Malformed

__all__ = ["MAX_KEPT", "Kept", "KeptPeer"]

MAX_KEPT: Final = 2000
"""Peers: as many as a table has."""
_MAX_HOURS: Final = 24 * 366
_Record = Annotated[bytes, msgspec.Meta(min_length=NONCE_SIZE, max_length=MAX_RECORD)]


class _StoredPeer(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    record: _Record
    absent: Annotated[int, msgspec.Meta(ge=0, le=_MAX_HOURS)] | None


class _Stored(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    format: Literal[1]
    own: _Record | None
    peers: Annotated[tuple[_StoredPeer, ...], msgspec.Meta(max_length=MAX_KEPT)]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Stored)


@attrs.frozen
class KeptPeer:
    """One that was met.

    :ivar absent: whole hours for which it has not been there; ``None`` if it was there
    """

    record: bytes
    absent: int | None = None


@attrs.frozen
class Kept:
    """What is kept.

    :ivar own: this peer's own record, if it has one
    """

    own: Presence | None = None
    peers: tuple[KeptPeer, ...] = ()

    def encode(self) -> bytes:
        """The file: hash(32) ‖ body."""
        own = None if self.own is None else self.own.encode()
        peers = tuple(_StoredPeer(one.record, one.absent) for one in self.peers[:MAX_KEPT])
        return with_hash(_encoder.encode(_Stored(1, own, peers)))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what :meth:`encode` wrote; the records of others are not looked at.

        :raises StateError: if it is torn or foreign; put the file aside
        """
        try:
            stored = _decoder.decode(without_hash(data))
            own = None if stored.own is None else Presence.decode(stored.own)
        except (ValueError, RecursionError, Malformed):
            raise StateError("the kept peers are torn or foreign; move the file away to begin anew") from None
        return cls(own, tuple(KeptPeer(one.record, one.absent) for one in stored.peers))
