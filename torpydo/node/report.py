"""What a node tells its operator: who and where it is, and what its pools make of it. Made by parts and heartbeat.

For ``torpydo status`` only, whose socket is its owner's alone. Nothing here is secret, and nothing is about clients.
"""

from __future__ import annotations

import attrs

__all__ = ["NodeReport", "PoolStanding", "StampStanding"]


@attrs.frozen
class StampStanding:
    """How far the node is with the work that its pools ask for.

    :ivar bits: of the stamp that it has
    :ivar asked: bits that its pools ask for
    :ivar working: whether it is looking for one with so many
    :ivar tries: that it has made for that one
    :ivar expected: tries that are needed on average; each is as likely to succeed as any other
    """

    bits: int = 0
    asked: int = 0
    working: bool = False
    tries: int = 0
    expected: int = 0


@attrs.frozen
class PoolStanding:
    """How the node stands with one pool.

    :ivar pool: host and port
    :ivar lists_this_node: ``None``: that is not known, because the pool was not asked yet or does not answer
    :ivar heard: seconds since it took a heartbeat
    :ivar error: why it took none the last time
    :ivar says: the same in its own words, which may be anything
    :ivar listing_age: seconds since the listing of it that is in use was signed
    """

    pool: str
    lists_this_node: bool | None
    heard: float | None
    error: str | None
    says: str | None
    listing_age: float | None = None


@attrs.frozen
class NodeReport:
    """A node at one moment.

    :ivar address: what it is advertised as; ``None``: that is not known yet
    :ivar exit_policy: the destinations that it opens
    :ivar onion_key_age: seconds; a new key is made every seven days
    :ivar descriptor_age: seconds since it was signed
    :ivar stamp: the work for its identity
    :ivar listed_by: how many of its pools list it
    :ivar nodes: how many nodes it knows
    :ivar listing_digest: those who see the same network show the same
    """

    node_id: str
    nickname: str
    address: str | None
    exit_policy: str
    onion_key_age: float
    descriptor_age: float | None
    listed_by: int
    pools: tuple[PoolStanding, ...]
    nodes: int
    listing_digest: str | None
    test_network: bool
    stamp: StampStanding = StampStanding()
