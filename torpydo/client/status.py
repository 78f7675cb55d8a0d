"""What a client tells about itself: frozen values that turn into JSON, without anything secret in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import attrs

from torpydo.directory import PoolURL
from torpydo.net import ListingRefresh


@attrs.frozen
class PoolStatus:
    """One pool."""

    url: str
    listing_age: float | None
    """Seconds since the listing in use was signed; ``None`` without one."""
    error: str | None
    """Why it was not reached the last time."""
    digest: str | None = None
    """Names what it says of the network: who is told the same by it shows the same (SECURITY N9)."""
    nodes: int | None = None
    """Nodes that it lists."""
    missing: int | None = None
    """Nodes in use that it does not list."""

    @classmethod
    def of(cls, url: PoolURL, listings: ListingRefresh, now: float) -> Self:
        """What is known of the pool at *url*."""
        listing, error, view = listings.listing(url), listings.last_error(url), listings.view(url)
        return cls(
            url=str(url),
            listing_age=None if listing is None else now - listing.sequence / 1000,
            error=None if error is None else str(error),
            digest=listings.digest(url),
            nodes=None if view is None else view.listed,
            missing=None if view is None else view.missing,
        )


@attrs.frozen
class CircuitStatus:
    """One circuit."""

    path: tuple[str, ...]
    """Nicknames or short node ids, the guard first."""
    streams: int
    age: float
    """Seconds since it was built."""
    clean: bool
    """True until a stream has used it."""
    rtt: float | None
    """Seconds of the last measured round trip."""
    queued: int = 0
    """Bytes that wait in it: for an application that does not read, or for the network."""


@attrs.frozen
class ClientStatus:
    """The state of a client at one moment."""

    percent: int
    """Of the bootstrap."""
    tag: str
    summary: str
    ready: bool
    """True if circuits can be built."""
    reason: str | None
    """If it is not ready: why."""
    pools: tuple[PoolStatus, ...]
    nodes: int
    guard: str | None
    circuits: tuple[CircuitStatus, ...]
    pending: int
    """Circuits that are being built."""
    listing_digest: str | None
    """Clients that see the same network show the same digest."""
    skew: float | None
    """Seconds that this computer's clock is ahead of the network's."""
    test_network: bool
    warnings: tuple[str, ...] = ()
    """What a person should look at."""
    queued: int = 0
    """Bytes that wait in all circuits."""
    refused: Mapping[str, int] = attrs.field(factory=dict)
    """What it has given up since the start, by cause (``ClientRefusal`` in small letters)."""

    def to_json(self) -> dict[str, Any]:
        """The same as what ``json.dumps`` takes."""
        return attrs.asdict(self)


@attrs.frozen
class Progress:
    """How far the bootstrap is."""

    percent: int
    tag: str
    summary: str


STARTING = Progress(0, "starting", "starting")
STATE = Progress(5, "state", "the state directory is open")
LISTING = Progress(10, "listing", "asking the pools for their listings")
CACHED = Progress(30, "cached", "using the listings on disk")
NODES = Progress(50, "nodes", "the nodes are known")
CIRCUIT = Progress(75, "circuit", "building the first circuit")
LOST = "no circuit can be built any more"
"""The summary of a client that was ready."""
DONE = Progress(100, "done", "circuits can be built")
