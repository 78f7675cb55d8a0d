"""Entry points of the signed documents of the directory, and of the view that a client makes of them.

Each is read twice: as it came, and as the body of a document that is rightly signed, so that the inside is reached.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final

import attrs

from torpydo.crypto import SIGNATURE_SIZE, STAMP_SIZE, PoolId, Purpose, Secret, SigningKey
from torpydo.directory import (
    Descriptor,
    ExitPolicy,
    Heartbeat,
    HeartbeatAnswer,
    Listing,
    ListingEntry,
    NetDir,
    Parameter,
    PoolURL,
    Services,
    choose_path,
    is_private,
    parse_descriptor,
    parse_heartbeat,
    parse_listing,
    peek_pool_id,
    sign_descriptor,
    sign_heartbeat,
    sign_listing,
)
from torpydo.errors import DescriptorError, DirectoryError, ListingError, PathError
from torpydo.testing.fuzz.cursor import Cursor
from torpydo.testing.fuzz.fixed import NODE, NOW, ONION, POOL
from torpydo.testing.fuzz.target import Target, require
from torpydo.tpdp import Address

__all__ = ["TARGETS", "make_document", "make_listing", "make_view", "node_key"]

POLICIES: Final = ("accept *:443", "reject *:*", "accept *:80, reject *:*", "accept *:*")


def node_key(number: int) -> SigningKey:
    """The key of one of many nodes."""
    return SigningKey(Secret(bytes((number + 1,)) * 32))


def _descriptor(key: SigningKey, address: Address, policy: str = "accept *:443") -> Descriptor:
    return Descriptor(
        node_id=key.node_id,
        onion_keys=(ONION.public,),
        address=address,
        exit_policy=ExitPolicy.parse(policy),
        family=frozenset(),
        nickname="node",
        bandwidth=1_000_000,
        version="0.1",
        protocols=(1,),
        sequence=NOW * 1000,
        published=NOW,
    )


@cache
def make_document(number: int, kind: int = 0) -> bytes:
    """The signed descriptor of one of many nodes.

    :param kind: 0 a good one, 1 a newer one, 2 a forged newest one, 3 one with a private address, 4 an old one
    """
    key = node_key(number)
    ip = b"\x0a\0\0\1" if kind == 3 else bytes((20 + number, 1, 1, 1))
    good = _descriptor(key, Address(ip, 9001), POLICIES[number % len(POLICIES)])
    if kind == 4:
        good = attrs.evolve(good, published=NOW - 10**6)
    document = sign_descriptor(attrs.evolve(good, sequence=good.sequence + kind), key)
    return bytes(SIGNATURE_SIZE) + document[SIGNATURE_SIZE:] if kind == 2 else document


def make_listing(
    key: SigningKey, documents: Iterable[bytes], parameters: dict[str, Parameter] | None = None, measured: int = 0
) -> Listing:
    """A listing of these documents, which is fresh."""
    return Listing(
        pool_id=key.pool_id,
        sequence=NOW * 1000,
        valid_after=NOW,
        fresh_until=NOW + 60,
        valid_until=NOW + 3600,
        parameters=parameters or {},
        entries=tuple(ListingEntry(document, NOW, measured) for document in documents),
    )


# -- Descriptor


def _run_descriptor(data: bytes) -> None:
    """A node's descriptor."""
    for document in (data, NODE.sign(Purpose.DESCRIPTOR, data) + data):
        try:
            descriptor = parse_descriptor(document)
        except DescriptorError:
            continue
        mine = attrs.evolve(descriptor, node_id=NODE.node_id)
        require(parse_descriptor(sign_descriptor(mine, NODE)) == mine, "a descriptor is read as another one")
        shown = f"{descriptor.name} {descriptor.version} {descriptor.exit_policy}"
        require(shown.isascii() and shown.isprintable(), f"{shown!r} has characters that a terminal obeys")


def _descriptor_seeds() -> Iterable[bytes]:
    one = _descriptor(NODE, Address(b"\x08\x08\x08\x08", 9001))
    two = attrs.evolve(
        _descriptor(NODE, Address(b"\x2a" + bytes(15), 443), "accept *:80-443, reject [2001:db8::]/32:*"),
        family=frozenset((node_key(0).node_id, node_key(1).node_id)),
        nickname="",
        protocols=(1, 2),
        services=Services.ONION | Services.DHT,
        stamp=bytes(range(STAMP_SIZE)),
    )
    for descriptor in (one, two):
        document = sign_descriptor(descriptor, NODE)
        yield document[SIGNATURE_SIZE:]
        yield document


# -- Heartbeat


def _run_heartbeat(data: bytes) -> None:
    """What a node posts: as it is, and what a node that signs everything posts."""
    script = Cursor(data)
    time_ms = NOW * 1000 + script.number(4) - 2**31
    document = script.rest()
    for posted in (data, sign_heartbeat(document, POOL.pool_id, max(time_ms, 0), NODE)):
        try:
            heartbeat = parse_heartbeat(posted, POOL.pool_id, float(NOW))
        except DescriptorError as error:
            require(str(error).isprintable(), f"{str(error)!r} is told to a terminal")
            continue
        require(abs(heartbeat.time_ms / 1000 - NOW) <= 300, "a heartbeat of another time was taken")
        require(isinstance(heartbeat, Heartbeat) and heartbeat.document in posted, "a document that was not posted")


def _heartbeat_seeds() -> Iterable[bytes]:
    document = next(iter(_descriptor_seeds()))
    signed = NODE.sign(Purpose.DESCRIPTOR, document) + document
    yield b"\x80\0\0\0" + signed
    yield sign_heartbeat(signed, POOL.pool_id, NOW * 1000, NODE)


def _run_heartbeat_answer(data: bytes) -> None:
    """What a pool answers to it."""
    try:
        answer = HeartbeatAnswer.parse(data)
    except DirectoryError:
        return
    require(1.0 <= answer.delay <= 300.0, f"a node is asked to wait for {answer.delay} s")
    require(HeartbeatAnswer.parse(answer.encode()).pool_time == answer.pool_time, "an answer is read as another one")


# -- Listing


def _run_listing(data: bytes) -> None:
    """What a pool lists."""
    for listed in (data, POOL.sign(Purpose.LISTING, data) + data):
        try:
            peeked: PoolId | None = peek_pool_id(listed)
        except ListingError:
            peeked = None
        try:
            listing = parse_listing(listed, POOL.pool_id, float(NOW), NOW * 1000 - 5)
        except ListingError:
            continue
        require(peeked == POOL.pool_id, "a listing is of another pool than it says")
        require(parse_listing(sign_listing(listing, POOL), POOL.pool_id, NOW) == listing, "it is read as another one")
        url = PoolURL("pool.example.org", 80, POOL.pool_id)
        _use(NetDir.merge({url: listing}, [url], None, float(NOW)))


def _listing_seeds() -> Iterable[bytes]:
    for listing in (
        make_listing(POOL, [make_document(0), make_document(1, 2)], {"test-network": True, "width": 3, "word": "x"}, 5),
        make_listing(POOL, [b"no document at all"]),
        make_listing(POOL, []),
    ):
        signed = sign_listing(listing, POOL)
        yield signed[SIGNATURE_SIZE:]
    yield signed


# -- The view of several pools


def _use(view: NetDir) -> None:
    """Open every node, draw paths, ask for exits."""
    opened = dict(view.nodes)
    require(all(opened[node_id].node_id == node_id for node_id in opened), "a node has another's document")
    require(view.test_network or not any(is_private(one.address.ip) for one in opened.values()), "a private address")
    require(len(view.nodes) == len(opened), "nodes were counted that nobody can use")
    for port in (443, 80):
        try:
            path = choose_path(view, hops=3, port=port, randbelow=lambda below: below - 1)
        except PathError:
            continue
        require(len({one.node_id for one in path}) == 3, "a node is twice in a path")


def make_view(script: Cursor) -> tuple[NetDir, list[Listing]]:
    """The view of up to four pools as a script has them: which nodes, which of their documents, what parameters."""
    listings: dict[PoolURL, Listing] = {}
    urls: list[PoolURL] = []
    pools = 1 + script.byte() % 4
    for number in range(pools):
        key = SigningKey(Secret(bytes((200 + number,)) * 32))
        url = PoolURL("127.0.0.1", 8080 + number, key.pool_id)
        urls.append(url)
        flags = script.byte()
        chosen = script.short()
        documents = [script.short() if op & 0x80 else make_document(op & 7, (op >> 3) % 5) for op in chosen]
        if flags & 1:
            parameters: dict[str, Parameter] = {"test-network": bool(flags & 2), "width": flags >> 4}
            listings[url] = make_listing(key, documents, parameters, measured=flags >> 3)
    threshold = script.byte() % (pools + 1)
    return NetDir.merge(listings, urls, threshold or None, float(NOW)), list(listings.values())


def _run_view(data: bytes) -> None:
    """Listings of several pools, some of which lie."""
    view, listings = make_view(Cursor(data))
    _use(view)
    for node_id in view.nodes.listed:
        listing_it = sum(any(node_id in entry.document for entry in listing.entries) for listing in listings)
        require(listing_it >= view.threshold, f"a node that {listing_it} pools list is used, {view.threshold} must")


def _view_seeds() -> Iterable[bytes]:
    everybody = bytes((8, *range(8)))
    yield b"\0\1" + everybody
    yield b"\2" + (b"\3" + everybody) * 3 + b"\2"
    newer, forged = bytes((3, 0x08, 0x09, 0x1A)), bytes((3, 0x10, 0x11, 0x80)) + b"\2ab"
    yield b"\2" + b"\1" + everybody + b"\1" + newer + b"\1" + forged


TARGETS: Final = (
    Target("document-descriptor", _run_descriptor, _descriptor_seeds, 2048),
    Target("document-heartbeat", _run_heartbeat, _heartbeat_seeds, 2048),
    Target("document-heartbeat-answer", _run_heartbeat_answer, lambda: (HeartbeatAnswer(15.0, NOW).encode(),), 32),
    Target("document-listing", _run_listing, _listing_seeds, 4096),
    Target("document-view", _run_view, _view_seeds, 1024),
)
