"""What a pool tells its operator: counts, and what it publishes; never who asks. Made by service."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

__all__ = ["IndexReport", "IndexStatus"]


@attrs.frozen
class IndexStatus:
    """A pool at one moment.

    :ivar listed: nodes that would be in a listing made now
    :ivar known: nodes that are remembered, those listed once and those that never were included
    :ivar pending: those of them that were never listed: no link to them has opened yet
    :ivar probes: links to nodes that are being tried, or wait for their turn
    :ivar heartbeats: that were taken since the start
    :ivar connections: open ones
    :ivar listing_sequence: of the listing that is served; 0: nobody has asked for one yet
    :ivar listing_age: seconds since it was signed
    :ivar listing_bytes: its size, as it is sent to who can unpack it
    :ivar database_bytes: the size of the database
    :ivar refused: what was refused since the start, by cause (``PoolRefusal`` in small letters)
    """

    listed: int
    known: int
    pending: int
    probes: int
    heartbeats: int
    connections: int
    listing_sequence: int
    listing_age: float | None
    listing_bytes: int
    database_bytes: int
    refused: Mapping[str, int]


@attrs.frozen
class IndexReport:
    """Who a pool is, and what it says.

    :ivar pool_id: its key
    :ivar listing_digest: names what it says of the network; whoever fetches the listing from elsewhere must see the
        same
    """

    pool_id: str
    listing_digest: str | None
    test_network: bool
