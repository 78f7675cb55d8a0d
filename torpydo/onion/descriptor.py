"""Descriptors of services: where one is introduced, for those who know its name (docs/protocol-onion, Descriptor).

Whoever stores one sees the blinded key that it is signed with and bytes of a size that says next to nothing. Who knows
the name opens the first layer; the second one needs, besides, the cookie of the service, which is empty for everybody,
or in an entry for each client that has a key. There are always entries; those that are for nobody are random.
::

    sealed  = seal(ephemeral key ‖ count u8 ‖ entries of 56 bytes ‖ inner, 0^24, K1)
    inner   = seal(body ‖ 0…, 0^24, K2)
    K1      = BLAKE(blinded key ‖ sequence u64, "tpdp1 outer", key=the service's key)
    K2      = BLAKE(blinded key ‖ sequence u64 ‖ cookie, "tpdp1 inner", key=the service's key)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from torpydo.crypto import (
    KEY_SIZE,
    MAC_SIZE,
    ZERO_NONCE,
    DHPublicKey,
    DHSecretKey,
    NodeId,
    Person,
    Secret,
    VerifyKey,
    blake,
    open_sealed,
    same,
    seal,
)
from torpydo.errors import BadKey, DecryptionFailed, LocalProtocolError, ServiceNotFound
from torpydo.onion.names import OnionName
from torpydo.tpdp import SEED_SIZE
from torpydo.wire import Malformed, NeedMore, Reader, Writer

__all__ = ["MAX_CLIENTS", "MAX_POINTS", "IntroductionPoint", "ServiceDescriptor", "open_descriptor", "seal_descriptor"]

MAX_POINTS: Final = 10
"""Introduction points in a descriptor."""
MAX_CLIENTS: Final = 32
"""Clients that may have a key of their own."""
STEP: Final = 16
"""Entries come in multiples of this (SECURITY O7)."""
INNER: Final = 1536
"""Bytes of the inner layer before it is sealed."""
COOKIE: Final = 32
ID: Final = 8
ENTRY: Final = ID + MAC_SIZE + COOKIE
FORMAT: Final = 1


@attrs.frozen
class IntroductionPoint:
    """Where a service is introduced.

    :ivar node_id: of the node; clients go to nodes of their listing only
    :ivar key: by which that node knows the service
    :ivar service_key: that introductions by it are sealed for
    :ivar seed: of its puzzles, 32 bytes; another one now and then
    """

    node_id: NodeId
    key: VerifyKey
    service_key: DHPublicKey
    seed: bytes = attrs.field(
        validator=[attrs.validators.min_len(SEED_SIZE), attrs.validators.max_len(SEED_SIZE)]
    )


@attrs.frozen
class ServiceDescriptor:
    """What a service tells those who know its name.

    :ivar effort: that it suggests; 0 asks for nothing
    """

    points: tuple[IntroductionPoint, ...]
    effort: int

    def encode(self) -> bytes:
        """The body: format u8 ‖ effort u32 ‖ count u8 ‖ for each point node id ‖ key ‖ service key ‖ seed."""
        if not 1 <= len(self.points) <= MAX_POINTS:
            raise LocalProtocolError(f"a service has 1 to {MAX_POINTS} introduction points, not {len(self.points)}")
        writer = Writer().u8(FORMAT).u32(self.effort).u8(len(self.points))
        for point in self.points:
            writer.put(point.node_id.raw).put(point.key.raw).put(point.service_key.raw).put(point.seed)
        return writer.getvalue()

    @classmethod
    def decode(cls, data: bytes) -> ServiceDescriptor:
        """Read a body with its fill.

        :raises Malformed: if it is none
        """
        reader = Reader(data)
        try:
            if reader.u8() != FORMAT:
                raise Malformed("a service's descriptor of a format that is not known")
            effort, count = reader.u32(), reader.u8()
            if not 1 <= count <= MAX_POINTS:
                raise Malformed(f"a service's descriptor with {count} introduction points")
            points = tuple(_read_point(reader) for _ in range(count))
        except NeedMore:
            raise Malformed("a service's descriptor is too short") from None
        reader.zeros()
        return cls(points, effort)


def _read_point(reader: Reader) -> IntroductionPoint:
    raw = [reader.take(KEY_SIZE) for _ in range(3)]
    seed = reader.take(SEED_SIZE)
    try:
        return IntroductionPoint(NodeId(raw[0]), VerifyKey(raw[1]), DHPublicKey(raw[2]), seed)
    except BadKey:
        raise Malformed("an introduction point with a key that is none") from None


def seal_descriptor(
    descriptor: ServiceDescriptor,
    name: OnionName,
    blinded: VerifyKey,
    sequence: int,
    *,
    clients: Sequence[DHPublicKey] = (),
    rng: Callable[[int], bytes],
) -> bytes:
    """The value that is stored.

    :param sequence: of the item; no two descriptors under one blinded key have the same
    :param clients: who may read it; nobody else then, without it everybody who knows the name
    :raises LocalProtocolError: if there are too many introduction points or clients
    """
    if len(clients) > MAX_CLIENTS:
        raise LocalProtocolError(f"at most {MAX_CLIENTS} clients can have a key of their own, not {len(clients)}")
    context = blinded.raw + sequence.to_bytes(8)
    ephemeral = DHSecretKey(Secret(rng(KEY_SIZE)))
    cookie = rng(COOKIE) if clients else b""
    entries = [_entry(ephemeral.agree(client), context, cookie) for client in clients]
    entries += [rng(ENTRY) for _ in range(-len(entries) % STEP or (0 if entries else STEP))]
    # Sorted by what looks random: the place of an entry says nothing of its client.
    entries.sort()
    inner = seal(descriptor.encode().ljust(INNER, b"\0"), ZERO_NONCE, _inner_key(name, context, cookie))
    outer = ephemeral.public.raw + bytes((len(entries),)) + b"".join(entries) + inner
    return seal(outer, ZERO_NONCE, _outer_key(name, context))


def open_descriptor(
    value: bytes, name: OnionName, blinded: VerifyKey, sequence: int, client_key: DHSecretKey | None = None
) -> ServiceDescriptor:
    """Open what was stored.

    :param client_key: of this client, if the service has given it one
    :raises ServiceNotFound: if it is not for this client, for whatever reason: who has no key must not learn that one
        is needed (SECURITY O7)
    :raises Malformed: if it was made by nobody who knows the name
    """
    context = blinded.raw + sequence.to_bytes(8)
    try:
        reader = Reader(open_sealed(value, ZERO_NONCE, _outer_key(name, context)))
        ephemeral, count = DHPublicKey(reader.take(KEY_SIZE)), reader.u8()
        entries = [reader.take(ENTRY) for _ in range(count)]
        inner = reader.take(reader.remaining)
    except (DecryptionFailed, NeedMore):
        raise Malformed("a service's descriptor that its name does not open") from None
    cookie = b"" if client_key is None else _cookie(entries, client_key, ephemeral, context)
    try:
        body = open_sealed(inner, ZERO_NONCE, _inner_key(name, context, cookie))
    except DecryptionFailed:
        raise ServiceNotFound() from None
    return ServiceDescriptor.decode(body)


def _cookie(entries: Sequence[bytes], key: DHSecretKey, ephemeral: DHPublicKey, context: bytes) -> bytes:
    """What an entry has for *key*; nothing if none is for it. All are looked at, whichever it is."""
    try:
        shared = key.agree(ephemeral)
    except BadKey:
        return b""
    wanted, found = _entry_id(shared, context), b""
    for entry in entries:
        if same(entry[:ID], wanted):
            found = entry[ID:]
    try:
        return open_sealed(found, ZERO_NONCE, _entry_key(shared, context)) if found else b""
    except DecryptionFailed:
        return b""


def _entry(shared: Secret, context: bytes, cookie: bytes) -> bytes:
    return _entry_id(shared, context) + seal(cookie, ZERO_NONCE, _entry_key(shared, context))


def _entry_id(shared: Secret, context: bytes) -> bytes:
    return blake(context, Person.ENTRY_ID, key=shared, size=ID)


def _entry_key(shared: Secret, context: bytes) -> bytes:
    return blake(context, Person.ENTRY, key=shared)


def _outer_key(name: OnionName, context: bytes) -> bytes:
    return blake(context, Person.OUTER, key=name.key.raw)


def _inner_key(name: OnionName, context: bytes, cookie: bytes) -> bytes:
    return blake(context + cookie, Person.INNER, key=name.key.raw)
