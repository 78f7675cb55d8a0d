"""Builders for the tests of the directory; every field can be overridden."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import attrs
import msgspec

from torpydo.crypto import DHPublicKey, NodeId, Purpose, SigningKey
from torpydo.directory import (
    Descriptor,
    ExitPolicy,
    Listing,
    ListingEntry,
    NetDir,
    Parameter,
    PoolURL,
    sign_descriptor,
)
from torpydo.tpdp import Address

NOW = 1_800_000_000
OPEN = "accept *:*"


def key(name: object) -> SigningKey:
    """The signing key that belongs to *name*."""
    return SigningKey(blake2b(repr(name).encode(), digest_size=32).digest())


def node_id(name: object) -> NodeId:
    """The node id that belongs to *name*."""
    return key(name).node_id


def descriptor(name: object = 0, *, policy: str = "", family: Iterable[object] = (), **overrides: Any) -> Descriptor:
    """A descriptor that may be signed with ``key(name)``; each integer name has a subnet of its own."""
    number = name if isinstance(name, int) else 0
    made = Descriptor(
        node_id=node_id(name),
        onion_keys=(DHPublicKey(bytes([7]) * 32),),
        address=Address(bytes([20 + number // 250, number % 250, 1, 1]), 6000),
        exit_policy=ExitPolicy.parse(policy),
        family=frozenset(map(node_id, family)),
        nickname=f"node{name}",
        bandwidth=1_000_000,
        version="0.1.0",
        protocols=(1,),
        sequence=NOW * 1000,
        published=NOW,
    )
    return attrs.evolve(made, **overrides)


def document(name: object = 0, **overrides: Any) -> bytes:
    """A signed descriptor."""
    return sign_descriptor(descriptor(name, **overrides), key(name))


def forge(raw: bytes) -> bytes:
    """The document *raw* with a signature that does not verify."""
    return bytes(64) + raw[64:]


def fields(raw: bytes) -> list[object]:
    """The fields of a signed document."""
    decoded: list[object] = msgspec.msgpack.decode(raw[64:])
    return decoded


def resign(values: object, signer: SigningKey, purpose: Purpose) -> bytes:
    """A document with any content at all, correctly signed."""
    body = msgspec.msgpack.encode(values)
    return signer.sign(purpose, body) + body


def listing(pool: object = "pool", documents: Iterable[bytes] = (), **overrides: Any) -> Listing:
    """A listing of *documents* from the pool ``key(pool)``."""
    made = Listing(
        pool_id=key(pool).pool_id,
        sequence=NOW * 1000,
        valid_after=NOW,
        fresh_until=NOW + 3600,
        valid_until=NOW + 3 * 3600,
        parameters={},
        entries=tuple(ListingEntry(raw, NOW) for raw in documents),
    )
    return attrs.evolve(made, **overrides)


def url(pool: object = "pool", host: str = "127.0.0.1") -> PoolURL:
    """The URL, with key, of the pool ``key(pool)``."""
    return PoolURL(host, 8080, key(pool).pool_id)


def network(
    documents: Sequence[bytes],
    *,
    parameters: Mapping[str, Parameter] | None = None,
    now: float = NOW,
    entries: Sequence[ListingEntry] | None = None,
) -> NetDir:
    """The view of a client with one pool that lists *documents*."""
    made = listing(documents=documents, parameters=parameters or {})
    if entries is not None:
        made = attrs.evolve(made, entries=tuple(entries))
    return NetDir.merge({url(): made}, [url()], None, now)


def randbelow(seed: int = 1) -> Callable[[int], int]:
    """Reproducible randomness."""
    return random.Random(seed).randrange
