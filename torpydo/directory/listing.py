"""Listings: the nodes that one pool vouches for, signed (docs/protocol-directory, section Listing).

A listing is signature(64) ‖ body, signed over the body as it came. Descriptors in it are opaque here:
a bad one costs only itself, later, when :mod:`torpydo.directory.netdir` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import attrs
import msgspec

from torpydo.crypto import KEY_SIZE, SIGNATURE_SIZE, PoolId, Purpose, SigningKey, document_hash
from torpydo.directory.descriptor import MAX_DESCRIPTOR
from torpydo.errors import BadKey, BadSignature, ListingError, LocalProtocolError

__all__ = [
    "GRACE",
    "LISTING_LIFE",
    "MAX_LISTING",
    "MAX_NODES",
    "STAMP_BITS",
    "TEST_NETWORK",
    "Listing",
    "ListingEntry",
    "Parameter",
    "listing_etag",
    "parse_listing",
    "peek_pool_id",
    "sign_listing",
]

Parameter = bool | int | str

MAX_LISTING: Final = 16 * 1024 * 1024
"""Bytes of a listing (tor's bound for a consensus)."""
MAX_NODES: Final = 32_768
"""Nodes in a listing."""
LISTING_LIFE: Final = 3 * 3600
"""Seconds that a pool lets its listings be valid."""
MAX_LIFE: Final = 24 * 3600
"""Seconds of validity that are believed: a pool cannot freeze its clients for longer."""
MAX_AHEAD: Final = 300
"""Seconds that a listing may be from the future."""
GRACE: Final = 24 * 3600
"""Seconds after valid-until for which a listing is still used, with a warning."""
TEST_NETWORK: Final = "test-network"
"""The parameter that lifts the rules which make no sense on one machine."""
STAMP_BITS: Final = "stamp-bits"
"""The parameter that says how much work a node's identity must have cost (SECURITY K1)."""

_FORMAT: Final = 1
_MAX_INTEGER: Final = 2**53

_Time = Annotated[int, msgspec.Meta(ge=0, le=2**43)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9-]*\Z")]
_Integer = Annotated[int, msgspec.Meta(ge=-_MAX_INTEGER, le=_MAX_INTEGER)]
_Text = Annotated[str, msgspec.Meta(max_length=256)]
_Key = Annotated[bytes, msgspec.Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]


class ListingEntry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One node in a listing.

    :ivar document: the node's signed descriptor, byte for byte
    :ivar first_seen: seconds when the pool first listed the node
    :ivar measured: what the pool measured that it carries, bytes a second; 0: not measured
    """

    document: Annotated[bytes, msgspec.Meta(max_length=MAX_DESCRIPTOR)]
    first_seen: _Time
    measured: Annotated[int, msgspec.Meta(ge=0, le=10**12)] = 0


class _Body(msgspec.Struct, array_like=True, frozen=True):
    format: Literal[1]
    pool_id: _Key
    sequence: Annotated[int, msgspec.Meta(ge=1, le=_MAX_INTEGER)]
    valid_after: _Time
    fresh_until: _Time
    valid_until: _Time
    parameters: Annotated[tuple[tuple[_Name, bool | _Integer | _Text], ...], msgspec.Meta(max_length=64)]
    entries: Annotated[tuple[ListingEntry, ...], msgspec.Meta(max_length=MAX_NODES)]


class _Head(msgspec.Struct, array_like=True, frozen=True):
    format: Literal[1]
    pool_id: _Key


@attrs.frozen
class Listing:
    """The nodes that one pool vouches for.

    :ivar pool_id: the pool
    :ivar sequence: milliseconds when it was signed, strictly rising
    :ivar valid_after: seconds
    :ivar fresh_until: seconds; from then on a client fetches a new one
    :ivar valid_until: seconds; from then on a client warns
    :ivar parameters: of the network, by name
    :ivar entries: the nodes
    """

    pool_id: PoolId
    sequence: int
    valid_after: int
    fresh_until: int
    valid_until: int
    parameters: Mapping[str, Parameter]
    entries: tuple[ListingEntry, ...]

    def is_fresh(self, now: float) -> bool:
        """Whether there is no need for a new one yet."""
        return now < self.fresh_until

    def is_expired(self, now: float) -> bool:
        """Whether it is past valid-until: it is used for another day, with a warning."""
        return now >= self.valid_until

    @property
    def digest(self) -> str:
        """Names what the pool says of the network, all its times left out (SECURITY N9).

        As long as the nodes are the same, so is this, however often the pool signs anew, and so is that of another
        pool with the same nodes. Two people whom one pool tells different things see different digests.
        """
        nodes = sorted((entry.document, entry.measured) for entry in self.entries)
        return document_hash(_encoder.encode((sorted(self.parameters.items()), nodes))).hex()

    def is_usable(self, now: float) -> bool:
        """Whether it is neither from the future nor more than a day past valid-until."""
        return self.sequence / 1000 <= now + MAX_AHEAD and now <= self.valid_until + GRACE


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Body)
_head_decoder: Final = msgspec.msgpack.Decoder(_Head)


def sign_listing(listing: Listing, key: SigningKey) -> bytes:
    """The signed bytes of *listing*.

    :raises ListingError: if it breaks a limit, so that clients would refuse it
    :raises LocalProtocolError: if *key* is not the pool's
    """
    if key.public != listing.pool_id.raw:
        raise LocalProtocolError("a listing is signed with the key of its own pool")
    body = _encoder.encode(
        _Body(
            format=_FORMAT,
            pool_id=listing.pool_id.raw,
            sequence=listing.sequence,
            valid_after=listing.valid_after,
            fresh_until=listing.fresh_until,
            valid_until=listing.valid_until,
            parameters=tuple(sorted(listing.parameters.items())),
            entries=listing.entries,
        )
    )
    data = key.sign(Purpose.LISTING, body) + body
    _check_size(data)
    _read(body, listing.pool_id, listing.sequence / 1000, 0)
    return data


def _check_times(body: _Body, now: float, newest_sequence: int) -> None:
    signed = body.sequence // 1000
    if not body.valid_after <= body.fresh_until <= body.valid_until <= body.valid_after + MAX_LIFE:
        raise ListingError("a listing's times are out of order, or it is valid for more than a day")
    if abs(signed - body.valid_after) > MAX_AHEAD:
        raise ListingError("a listing was not signed when its validity begins")
    if signed > now + MAX_AHEAD:
        raise ListingError(
            f"the listing is {_span(signed - now)} in the future; check the clock of this machine and of the pool"
        )
    if now > body.valid_until + GRACE:
        expired = _span(now - body.valid_until)
        raise ListingError(f"the listing expired {expired} ago; check the clock of this machine and that the pool runs")
    if body.sequence < newest_sequence:
        older = (newest_sequence - body.sequence) / 1000
        raise ListingError(f"the listing is {older:.3f} s older than one that this pool gave before; it was not taken")


def _span(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"


def parse_listing(data: bytes, pool_id: PoolId, now: float, newest_sequence: int = 0) -> Listing:
    """Read a listing and check all but the descriptors in it.

    :param pool_id: the pool that it must be from
    :param now: seconds since the epoch
    :param newest_sequence: the highest sequence that was ever taken from this pool
    :raises ListingError: if anything about it is wrong
    """
    _check_size(data)
    signed = data[SIGNATURE_SIZE:]
    try:
        pool_id.verify(Purpose.LISTING, signed, data[:SIGNATURE_SIZE])
    except BadSignature:
        remedy = "if it has a new key, copy its URL from STATE/pool.url"
        raise ListingError(f"the listing is not signed by the pool {pool_id.short}; {remedy}") from None
    return _read(signed, pool_id, now, newest_sequence)


def _read(signed: bytes, pool_id: PoolId, now: float, newest_sequence: int) -> Listing:
    """What a pool signed, all of it checked but the signature and the descriptors."""
    try:
        # ValueError is msgspec's DecodeError and the UnicodeDecodeError that it lets through.
        body = _decoder.decode(signed)
    except (ValueError, RecursionError):
        raise ListingError("a listing is malformed, or of a format this version does not know") from None
    if body.pool_id != pool_id.raw:
        raise ListingError(f"the listing names another pool than {pool_id.short}, which signed it")
    names = [name for name, _ in body.parameters]
    if sorted(set(names)) != names:
        raise ListingError("a listing's parameters are not in ascending order")
    _check_times(body, now, newest_sequence)
    return Listing(
        pool_id=pool_id,
        sequence=body.sequence,
        valid_after=body.valid_after,
        fresh_until=body.fresh_until,
        valid_until=body.valid_until,
        parameters=dict(body.parameters),
        entries=body.entries,
    )


def _check_size(data: bytes) -> None:
    if not SIGNATURE_SIZE < len(data) <= MAX_LISTING:
        raise ListingError(f"a listing has {SIGNATURE_SIZE + 1} to {MAX_LISTING} bytes, not {len(data)}")


def listing_etag(data: bytes) -> str:
    """The entity tag of a listing without quotes: its hash in hex. A client computes it itself (no supercookies)."""
    return document_hash(data).hex()


def peek_pool_id(data: bytes) -> PoolId:
    """The pool that a listing says it is from: for pinning at first use on loopback. Proves nothing by itself.

    :raises ListingError: if it does not say so
    """
    _check_size(data)
    try:
        return PoolId(_head_decoder.decode(memoryview(data)[SIGNATURE_SIZE:]).pool_id)
    except (ValueError, RecursionError, BadKey):
        raise ListingError("a listing is malformed, or of a format this version does not know") from None
