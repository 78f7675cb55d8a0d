"""Hypothesis strategies for the nouns of torpydo.

This is the only module that imports hypothesis; its room does not import it.
Everything that they make is valid, unless the strategy's name says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters, ascii_lowercase, digits

import attrs
from hypothesis import strategies as st

from torpydo.crypto import DHPublicKey, DHSecretKey, NodeId, PoolId, Secret, SigningKey
from torpydo.directory import Descriptor, ExitPolicy, Listing, ListingEntry, NetDir, PoolURL, sign_descriptor
from torpydo.testing.ways import Conditions
from torpydo.tpdp import Address

__all__ = [
    "addresses",
    "altered",
    "cuts",
    "descriptors",
    "dh_public_keys",
    "dh_secret_keys",
    "exit_policies",
    "flipped",
    "host_names",
    "hosts",
    "listings",
    "net_dirs",
    "node_ids",
    "pieces",
    "pool_ids",
    "pool_urls",
    "ports",
    "public_addresses",
    "signed_descriptors",
    "signing_keys",
    "truncated",
    "weather",
]

NOON = 1_800_000_000
"""Seconds: when the documents that are made here were signed."""

_raw_keys = st.binary(min_size=32, max_size=32)

# -- Bytes


@st.composite
def cuts(draw: st.DrawFn, length: int) -> list[int]:
    """Where to cut *length* bytes: rising places, none of them at an end."""
    return sorted(draw(st.sets(st.integers(1, length - 1), max_size=20))) if length > 1 else []


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """*data*, cut anywhere."""
    places = [0, *draw(cuts(len(data))), len(data)]
    return [data[start:end] for start, end in zip(places, places[1:], strict=False)]


@st.composite
def flipped(draw: st.DrawFn, data: bytes) -> bytes:
    """*data* with one byte changed."""
    place = draw(st.integers(0, len(data) - 1))
    return data[:place] + bytes([data[place] ^ draw(st.integers(1, 255))]) + data[place + 1 :]


def truncated(data: bytes) -> st.SearchStrategy[bytes]:
    """*data* without its end."""
    return st.integers(0, len(data) - 1).map(lambda size: data[:size])


@st.composite
def altered(draw: st.DrawFn, inputs: Sequence[bytes]) -> bytes:
    """One of *inputs* with up to four places changed: a byte, bytes more, bytes less, or the end of another one."""
    data = draw(st.sampled_from(inputs))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(("put", "insert", "drop", "join")))
        if kind == "put":
            data = data[:place] + draw(_telling) + data[place + 1 :]
        elif kind == "insert":
            data = data[:place] + draw(st.binary(min_size=1, max_size=8)) + data[place:]
        elif kind == "drop":
            data = data[:place] + data[place + draw(st.integers(1, 8)) :]
        else:
            other = draw(st.sampled_from(inputs))
            data = data[:place] + other[draw(st.integers(0, len(other))) :]
    return data


_telling = st.one_of(
    st.sampled_from((b"\0", b"\1", b"\x7f", b"\x80", b"\xff", b"\n", b" ", b":")), st.binary(min_size=1, max_size=1)
)
"""Single bytes, often ones at which something ends."""

# -- Keys


def signing_keys() -> st.SearchStrategy[SigningKey]:
    """Secret keys of nodes and pools."""
    return _raw_keys.map(lambda raw: SigningKey(Secret(raw)))


def node_ids() -> st.SearchStrategy[NodeId]:
    """Identities of nodes."""
    return signing_keys().map(lambda key: key.node_id)


def pool_ids() -> st.SearchStrategy[PoolId]:
    """Identities of pools."""
    return signing_keys().map(lambda key: key.pool_id)


def dh_secret_keys() -> st.SearchStrategy[DHSecretKey]:
    """Onion keys and ephemeral keys."""
    return _raw_keys.map(lambda raw: DHSecretKey(Secret(raw)))


def dh_public_keys() -> st.SearchStrategy[DHPublicKey]:
    """Their public halves."""
    return dh_secret_keys().map(lambda key: key.public)


# -- Places


def ports() -> st.SearchStrategy[int]:
    """Ports that can be connected to."""
    return st.one_of(st.sampled_from((1, 22, 80, 443, 65535)), st.integers(1, 65535))


def addresses() -> st.SearchStrategy[Address]:
    """Any IPv4 or IPv6 address."""
    ips = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))
    return st.builds(Address, ips, ports())


def public_addresses() -> st.SearchStrategy[Address]:
    """Addresses in the public Internet, as a node outside a test network has."""
    ip4 = st.binary(min_size=3, max_size=3).map(lambda rest: b"\x08" + rest)
    ip6 = st.binary(min_size=14, max_size=14).map(lambda rest: b"\x2a\x00" + rest)
    return st.builds(Address, st.one_of(ip4, ip6), ports())


def host_names() -> st.SearchStrategy[str]:
    """Names of hosts, as they stand in URLs."""
    label = st.builds(
        "".join,
        st.tuples(
            st.sampled_from(ascii_lowercase),
            st.text(ascii_lowercase + digits + "-", max_size=10),
            st.sampled_from(ascii_lowercase + digits),
        ),
    )
    return st.lists(label, min_size=2, max_size=4).map(".".join)


def hosts() -> st.SearchStrategy[str]:
    """Names of hosts, and IP literals."""
    return st.one_of(host_names(), addresses().map(lambda address: address.host))


def pool_urls() -> st.SearchStrategy[PoolURL]:
    """URLs of pools, with a key."""
    return st.builds(PoolURL, hosts(), ports(), pool_ids())


# -- Documents


@st.composite
def _rules(draw: st.DrawFn) -> str:
    network = draw(
        st.one_of(
            st.just("*"),
            st.builds("{}.{}.0.0/16".format, st.integers(11, 99), st.integers(0, 255)),
            st.sampled_from(("127.0.0.0/8", "10.0.0.0/8", "[2a00::]/16", "[fd00::]/8")),
        )
    )
    low = draw(ports())
    span = draw(st.one_of(st.just("*"), st.just(str(low)), st.integers(low, 65535).map(lambda high: f"{low}-{high}")))
    return f"{draw(st.sampled_from(('accept', 'reject')))} {network}:{span}"


def exit_policies() -> st.SearchStrategy[ExitPolicy]:
    """Exit policies, often closed, often with ports or networks."""
    return st.lists(_rules(), max_size=5).map(lambda rules: ExitPolicy.parse(", ".join(rules)))


@st.composite
def descriptors(draw: st.DrawFn, key: SigningKey | None = None, address: Address | None = None) -> Descriptor:
    """Descriptors, of the node with the key *key* and at *address* if these are given."""
    identity = key or draw(signing_keys())
    signed = NOON - draw(st.integers(0, 3600))
    return Descriptor(
        node_id=identity.node_id,
        onion_keys=tuple(draw(st.lists(dh_public_keys(), min_size=1, max_size=2, unique_by=lambda each: each.raw))),
        address=address or draw(public_addresses()),
        exit_policy=draw(exit_policies()),
        family=frozenset(draw(st.lists(node_ids(), max_size=2))),
        nickname=draw(st.text(ascii_letters + digits, max_size=12)),
        bandwidth=draw(st.integers(0, 10**9)),
        version="0.1",
        protocols=(1,),
        sequence=signed * 1000 + draw(st.integers(0, 999)),
        published=signed,
    )


@st.composite
def signed_descriptors(draw: st.DrawFn) -> tuple[Descriptor, bytes]:
    """A descriptor and its signed document."""
    key = draw(signing_keys())
    descriptor = draw(descriptors(key))
    return descriptor, sign_descriptor(descriptor, key)


@st.composite
def listings(draw: st.DrawFn, pool: PoolId | None = None, documents: Sequence[bytes] | None = None) -> Listing:
    """Listings that are fresh at :data:`NOON`, of the pool *pool* and with *documents* if these are given."""
    if documents is None:
        documents = [document for _, document in draw(st.lists(signed_descriptors(), max_size=4))]
    return Listing(
        pool_id=pool or draw(pool_ids()),
        sequence=NOON * 1000 - draw(st.integers(0, 100_000)),
        valid_after=NOON - 100,
        fresh_until=NOON + 100,
        valid_until=NOON + 3600,
        parameters={},
        entries=tuple(ListingEntry(document, NOON - draw(st.integers(0, 10**6))) for document in documents),
    )


@st.composite
def net_dirs(draw: st.DrawFn, nodes: int = 5, *, test_network: bool = False) -> NetDir:
    """A client's view of so many nodes, each in a subnet of its own, the last one an exit to everything."""
    documents = []
    keys = draw(st.lists(signing_keys(), min_size=nodes, max_size=nodes, unique_by=lambda key: key.seed))
    for number, key in enumerate(keys):
        descriptor = draw(descriptors(key, Address(bytes((20 + number, 1, 1, 1)), 9001)))
        if number == nodes - 1:
            descriptor = attrs.evolve(descriptor, exit_policy=ExitPolicy.parse("accept *:1-65535"))
        documents.append(sign_descriptor(descriptor, key))
    listing = draw(listings(documents=documents))
    url = PoolURL("127.0.0.1", 8080, listing.pool_id)
    if test_network:
        listing = attrs.evolve(listing, parameters={"test-network": True})
    return NetDir.merge({url: listing}, [url], None, NOON)


# -- Weather


def weather() -> st.SearchStrategy[Conditions]:
    """What a way of a simulated network may be like, without loss."""
    return st.builds(
        Conditions,
        latency=st.sampled_from((0.0, 0.001, 0.05, 0.3)),
        jitter=st.sampled_from((0.0, 0.01, 0.5)),
        rate=st.sampled_from((None, 10_000.0, 1_000_000.0)),
        in_flight=st.sampled_from((1, 1000, 65536, 262144)),
    )
