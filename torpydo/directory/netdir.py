"""NetDir: a client's read-only view of the network, merged from the listings of its pools.

A node is in it if at least t pools list it (SECURITY N1); a parameter counts if at least t pools give the
same value. It never changes, but for forged descriptors, which fall out when they are opened. Made anew from
each set of listings; called by clients and nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final, Self

import attrs

from torpydo.crypto import MAX_STAMP_BITS, NodeId, PoolId, document_hash
from torpydo.directory.agreement import POSITIONS, PoolView, path_share, view_of
from torpydo.directory.descriptor import Descriptor, times_fit
from torpydo.directory.listing import STAMP_BITS, TEST_NETWORK, Listing, Parameter
from torpydo.directory.nodes import Document, ListedNode, Lottery, NodeMap
from torpydo.directory.policy import ExitPolicy
from torpydo.directory.poolurl import PoolURL
from torpydo.directory.ranges import is_private
from torpydo.errors import ConfigurationError
from torpydo.wire import Writer

__all__ = ["ANY_PORT", "Destination", "NetDir", "majority"]

ANY_PORT: Final = 0
"""In the place of a port: any node with an open exit will do, for a name to be resolved."""

_PROTOCOL: Final = 1
_CLOSED: Final = str(ExitPolicy.closed())
_MAX_CACHED_EXITS: Final = 256
"""Destinations for which the exits are remembered."""


def majority(pools: int) -> int:
    """The smallest number that is more than half of *pools*."""
    return pools // 2 + 1


def _by_pool(listings: Mapping[PoolURL, Listing], urls: Sequence[PoolURL], now: float) -> dict[PoolId, Listing]:
    """The newest usable listing of each pool: mirrors of one pool are one pool, whatever their URLs."""
    newest: dict[PoolId, Listing] = {}
    for url in urls:
        listing = listings.get(url)
        if listing is None or not listing.is_usable(now) or url.pool_id not in (None, listing.pool_id):
            continue
        known = newest.get(listing.pool_id)
        if known is None or known.sequence < listing.sequence:
            newest[listing.pool_id] = listing
    return newest


def _count_pools(listings: Mapping[PoolURL, Listing], urls: Sequence[PoolURL]) -> int:
    identities: set[PoolId | PoolURL] = set()
    for url in urls:
        listing = listings.get(url)
        pinned = url.pool_id or (listing.pool_id if listing else None)
        identities.add(pinned or url)
    return len(identities)


def _parameters(listings: Sequence[Listing], threshold: int) -> dict[str, Parameter]:
    # The type is part of the value: True is not 1. If a small threshold lets two values through, neither
    # has been agreed on.
    votes = Counter((name, type(value), value) for listing in listings for name, value in listing.parameters.items())
    agreed: dict[str, list[Parameter]] = {}
    for (name, _, value), count in votes.items():
        if count >= threshold:
            agreed.setdefault(name, []).append(value)
    return {name: values[0] for name, values in agreed.items() if len(values) == 1}


@attrs.define
class _Vote:
    """What the pools say of one node."""

    documents: list[Document] = attrs.field(factory=list)
    measured: list[int] = attrs.field(factory=list)


def _votes(
    listings: Sequence[Listing], known: dict[bytes, Document]
) -> tuple[dict[bytes, _Vote], dict[PoolId, set[bytes]]]:
    votes: dict[bytes, _Vote] = {}
    listed: dict[PoolId, set[bytes]] = {}
    decoded: dict[bytes, Document | None] = dict(known)
    for listing in listings:
        seen = listed[listing.pool_id] = set()
        for entry in listing.entries:
            raw = entry.document
            if raw not in decoded:
                decoded[raw] = Document.decode(raw)
            document = decoded[raw]
            # A pool has one vote for a node, and one document: a thousand forged ones would have to be
            # refused one after the other.
            if document is None or document.body.node_id in seen:
                continue
            seen.add(document.body.node_id)
            vote = votes.setdefault(document.body.node_id, _Vote())
            vote.documents.append(document)
            if entry.measured:
                vote.measured.append(entry.measured)
    return votes, listed


def _fits(document: Document, test_network: bool) -> bool:
    """Whether a node may be used, as far as its address and its protocol go."""
    return (test_network or not is_private(document.body.ip)) and _PROTOCOL in document.body.protocols


def _speaks(vote: _Vote) -> bool:
    return any(_PROTOCOL in document.body.protocols for document in vote.documents)


def _best_first(documents: list[Document]) -> list[Document]:
    """Each document once, the highest sequence first; the bytes decide between equals, so that all clients agree."""
    distinct = set(documents)
    if len(distinct) == 1:
        return documents[:1]
    return sorted(distinct, key=lambda document: (document.body.sequence, document.raw), reverse=True)


def _agreed_stamp(documents: Sequence[Document], threshold: int) -> bytes | None:
    """The stamp that counts. A pool looks whether one holds, and one pool alone might list one that does not."""
    if len({document.body.stamp for document in documents}) == 1:
        return documents[0].body.stamp
    counts = Counter(document.body.stamp for document in documents)
    [(stamp, count), *others] = counts.most_common(2)
    # If a small threshold lets two through, neither has been agreed on.
    return stamp if count >= threshold and not (others and others[0][1] >= threshold) else None


def _claim(documents: Iterable[Document]) -> int:
    # Not opened yet: of several documents the highest claim counts, so a forged one cannot take weight away.
    return max(document.body.bandwidth for document in documents)


def _weigh(nodes: Sequence[ListedNode], votes: Mapping[bytes, _Vote], threshold: int) -> int:
    """Give each node its weight (SECURITY N6), and tell the cap.

    A measured node weighs what at least t pools say that it carries. A claim counts up to one and a half
    times the median claim: whoever claims a thousand times more is chosen half as often again, no more.
    """
    claims = {node.raw_id: _claim(node.documents) for node in nodes}
    ordered = sorted(claims.values())
    cap = ordered[(len(ordered) - 1) // 2] * 3 // 2 if ordered else 0
    for node in nodes:
        measured = sorted(votes[node.raw_id].measured, reverse=True)
        weight = measured[threshold - 1] if len(measured) >= threshold else min(claims[node.raw_id], cap)
        node.weight = max(weight, 1)
    return cap


def _may_be_exit(documents: Iterable[Document]) -> bool:
    return any(document.body.exit_policy != _CLOSED for document in documents)


def _by_policy(nodes: Iterable[ListedNode]) -> dict[str | None, list[ListedNode]]:
    """Nodes by exit policy, for there are far fewer policies than nodes; under None those whose documents differ."""
    groups: dict[str | None, list[ListedNode]] = {}
    for node in nodes:
        texts = {document.body.exit_policy for document in node.documents}
        groups.setdefault(texts.pop() if len(texts) == 1 else None, []).append(node)
    return groups


def _digest(nodes: Mapping[bytes, ListedNode], test_network: bool) -> str:
    writer = Writer().u8(test_network)
    for raw_id in sorted(nodes):
        documents = nodes[raw_id].documents
        writer.u16(len(documents))
        for document in documents:
            writer.u16(len(document.raw)).put(document.raw)
    return document_hash(writer.getvalue()).hex()


@attrs.frozen
class Destination:
    """What an exit is wanted for.

    :ivar port: the destination's port, or :data:`ANY_PORT`
    :ivar ip: its address, None where only the exit will know it
    :ivar wide: only exits that open much of the public Internet
    """

    port: int
    ip: bytes | None = None
    wide: bool = False

    def allowed_by(self, policy: ExitPolicy) -> bool:
        """Whether an exit with *policy* may do."""
        if self.port == ANY_PORT:
            return policy.is_open
        if self.ip is not None:
            return policy.allows(self.ip, self.port)
        return policy.may_allow_port(self.port, wide=self.wide)


@attrs.frozen(eq=False)
class NetDir:
    """The network as a client sees it.

    :ivar nodes: the descriptors by node id, checked when they are looked up
    :ivar parameters: of the network, as far as enough pools agree
    :ivar test_network: whether the rules that make no sense on one machine are lifted
    :ivar digest: names the set of nodes: two clients with the same digest use the same set (SECURITY N9)
    :ivar pools_used: how many pools' listings went in
    :ivar threshold: how many of them had to list a node
    :ivar listed: how many nodes were listed by enough pools, whether or not their descriptors can be used
    :ivar foreign: how many more enough pools list that speak only versions of the protocol which are not spoken here
    :ivar configured: how many pools there are, whether or not they gave a listing
    :ivar pools: what each pool lists beside this view
    :ivar everyone: the nodes, to draw from
    :ivar exits: those with an open exit policy
    """

    nodes: NodeMap
    parameters: Mapping[str, Parameter]
    test_network: bool
    digest: str
    pools_used: int
    threshold: int
    listed: int
    foreign: int
    configured: int
    pools: tuple[PoolView, ...]
    everyone: Lottery
    exits: Lottery
    _groups: Mapping[str | None, list[ListedNode]] = attrs.field(repr=False)
    _policies: dict[str, ExitPolicy] = attrs.field(factory=dict, init=False, repr=False)
    _exits_for: dict[Destination, Lottery] = attrs.field(factory=dict, init=False, repr=False)

    @classmethod
    def merge(
        cls,
        listings: Mapping[PoolURL, Listing],
        urls: Sequence[PoolURL],
        threshold: int | None,
        now: float,
        *,
        previous: NetDir | None = None,
    ) -> Self:
        """Merge the listings that :func:`parse_listing` accepted.

        :param listings: the last listing from each URL, as far as there is one
        :param urls: every configured pool
        :param threshold: how many pools must list a node; None: the majority of the configured ones
        :param now: seconds since the epoch
        :param previous: the last view; what was checked for it is not checked again
        :raises ConfigurationError: if the threshold is more than there are pools
        """
        count = _count_pools(listings, urls)
        needed = majority(count) if threshold is None else threshold
        if not 1 <= needed <= max(count, 1):
            raise ConfigurationError(f"the pool threshold is within 1..{count}, the number of pools, not {needed}")
        used = list(_by_pool(listings, urls, now).values())
        parameters = _parameters(used, needed)
        # A pool that could set this flag for clients elsewhere would put all hops into one of its subnets.
        test_network = parameters.get(TEST_NETWORK) is True and all(url.is_private_or_loopback for url in urls)
        votes, listed = _votes(used, previous.documents() if previous else {})
        # What could be used if enough pools listed it.
        fitting = {
            raw_id: documents
            for raw_id, vote in votes.items()
            if (documents := [document for document in vote.documents if _fits(document, test_network)])
        }
        enough = {raw_id for raw_id in fitting if len(votes[raw_id].documents) >= needed}
        nodes = {
            raw_id: ListedNode(raw_id, _best_first(current), stamp=_agreed_stamp(votes[raw_id].documents, needed))
            for raw_id in fitting
            if raw_id in enough
            and (current := [document for document in fitting[raw_id] if times_fit(document.body, now)])
        }
        cap = _weigh(list(nodes.values()), votes, needed)
        exits = [node for node in nodes.values() if _may_be_exit(node.documents)]
        weights = {
            raw_id: nodes[raw_id].weight if raw_id in nodes else max(min(_claim(documents), cap), 1)
            for raw_id, documents in fitting.items()
        }
        # A node that too few pools list says nothing while all pools are heard: anybody can register with one pool
        # only. While one is not heard, its vote is missing, and the node may be hidden by another.
        counted = frozenset(enough if len(used) == count else fitting)
        open_exits = frozenset(raw_id for raw_id, documents in fitting.items() if _may_be_exit(documents))
        return cls(
            nodes=NodeMap(nodes),
            parameters=parameters,
            test_network=test_network,
            digest=_digest(nodes, test_network),
            pools_used=len(used),
            threshold=needed,
            listed=len(enough),
            foreign=sum(len(vote.documents) >= needed and not _speaks(vote) for vote in votes.values()),
            configured=count,
            pools=tuple(
                view_of(pool_id, raw_ids, weights=weights, exits=open_exits, used=nodes, counted=counted)
                for pool_id, raw_ids in listed.items()
            ),
            everyone=Lottery.of(nodes.values()),
            exits=Lottery.of(exits),
            groups=_by_policy(exits),
        )

    @property
    def left_out(self) -> str:
        """Which nodes are of no use here, in words; empty if all are."""
        return f"{self.foreign} more speak only other versions of the protocol; update torpydo" if self.foreign else ""

    @property
    def stamp_bits(self) -> int:
        """Bits that the stamps of nodes must have (SECURITY K1). What makes no sense asks for none."""
        bits = self.parameters.get(STAMP_BITS, 0)
        # The type is part of the value: True is not 1.
        return bits if type(bits) is int and 0 <= bits <= MAX_STAMP_BITS else 0

    def get(self, node_id: NodeId) -> Descriptor | None:
        """The checked descriptor of *node_id*, or None."""
        return self.nodes.get(node_id)

    def documents(self) -> dict[bytes, Document]:
        """Every document in use, by its bytes."""
        return {document.raw: document for node in self.nodes.listed.values() for document in node.documents}

    @property
    def is_backed(self) -> bool:
        """Whether enough pools stand behind it: otherwise there is no node in it."""
        return self.pools_used >= self.threshold

    def says_the_same(self, other: NetDir) -> bool:
        """Whether nobody needs this view who has the *other*."""
        mine = self.digest, self.pools, self.pools_used, self.configured, self.parameters
        return mine == (other.digest, other.pools, other.pools_used, other.configured, other.parameters)

    def path_share(self, hops: int) -> float:
        """Which part of all paths of so many hops can be used (SECURITY P3); 0 if fewer than t pools gave a listing."""
        if not self.is_backed or not self.nodes.listed:
            return 0.0
        # What was found to be forged since is taken off from every position alike.
        alive = len(self.nodes) / len(self.nodes.listed)
        return path_share(self.pools, self.threshold, hops) * alive ** min(hops, POSITIONS)

    def allows(self, node: ListedNode, destination: Destination) -> bool:
        """Whether the exit policy of *node* may allow *destination*."""
        return self._opens(node.best.body.exit_policy, destination)

    def _opens(self, text: str, destination: Destination) -> bool:
        policy = self._policies.get(text)
        if policy is None:
            try:
                policy = ExitPolicy.parse(text)
            except ConfigurationError:
                policy = ExitPolicy.closed()
            self._policies[text] = policy
        return destination.allowed_by(policy)

    def exits_near(self, destination: Destination) -> Lottery:
        """The exits that may allow *destination* if they are remembered, all exits if not: to draw from."""
        return self._exits_for.get(destination, self.exits)

    def exits_for(self, destination: Destination) -> Lottery:
        """All exits that may allow *destination*, remembered for the next stream to it."""
        found = self._exits_for.get(destination)
        if found is None:
            if len(self._exits_for) >= _MAX_CACHED_EXITS:
                self._exits_for.clear()
            disputed = [node for node in self._groups.get(None, ()) if self.allows(node, destination)]
            agreed = [group for text, group in self._groups.items() if text and self._opens(text, destination)]
            found = Lottery.of(chain(disputed, *agreed))
            self._exits_for[destination] = found
        return found
