"""What the doctor sees of one's own node: whether its port can be reached, and which pools list it.

Called by command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred

from torpydo.cli.doctor.findings import Findings
from torpydo.cli.doctor.pools import name_of
from torpydo.crypto import NodeId
from torpydo.directory import REPUBLISH_AFTER, Descriptor, Listing, PoolURL, parse_descriptor
from torpydo.errors import DescriptorError, LinkError
from torpydo.tpdp import Address

__all__ = ["Listed", "find_node", "look_at_listings", "look_at_port"]

PROBE_TIME: Final = 7.0
"""Seconds for a link to one's own node."""

ProbeFunction = Callable[..., Deferred[None]]
"""Called like :func:`torpydo.net.probe_link`."""


@attrs.frozen
class Listed:
    """How the pools list a node.

    :ivar by_pool: what each pool that gave a listing says of it; ``None``: nothing
    """

    by_pool: Mapping[PoolURL, Descriptor | None]

    @property
    def newest(self) -> Descriptor | None:
        """The newest of these descriptors."""
        found = [one for one in self.by_pool.values() if one is not None]
        return max(found, key=lambda one: one.sequence, default=None)


def find_node(listings: Mapping[PoolURL, Listing], wanted: NodeId | Address) -> Listed:
    """Look a node up, by its id or by its address, in each listing."""
    return Listed({url: _find(listing, wanted) for url, listing in listings.items()})


def _find(listing: Listing, wanted: NodeId | Address) -> Descriptor | None:
    # Bytes that must be in the document: checking ten thousand signatures would take seconds.
    mark = wanted.raw if isinstance(wanted, NodeId) else wanted.ip
    for entry in listing.entries:
        if mark in entry.document:
            try:
                found = parse_descriptor(entry.document)
            except DescriptorError:
                continue
            if wanted in (found.node_id, found.address):
                return found
    return None


def look_at_listings(findings: Findings, listed: Listed, advertised: Address | None, now: float) -> None:
    """Say which pools list the node, and what they say of it."""
    lacking = [name_of(url) for url, found in listed.by_pool.items() if found is None]
    newest = listed.newest
    if newest is None:
        findings.problem(
            "own node", "no pool lists it",
            "it does not run, it was not told of these pools, or they cannot reach it",
            "its log, and 'torpydo status', have each pool's reason",
        )  # fmt: skip
        return
    if lacking:
        findings.warn(
            "own node", f"not listed by {', '.join(lacking)}",
            "that pool cannot reach it, or was not named in its --pool", "see 'torpydo status' of the node",
        )  # fmt: skip
    else:
        findings.ok("own node", f"listed by all {len(listed.by_pool)} pools, as {newest.name} at {newest.address}")
    age = now - newest.published
    if age > REPUBLISH_AFTER * 1.1:
        findings.warn(
            "own node", f"its descriptor is {age / 3600:.0f} h old", "a node signs a new one every 18 h while it runs",
            "see whether it still runs, and its clock",
        )  # fmt: skip
    else:
        findings.ok("own node", f"its descriptor is {age / 3600:.1f} h old; exit policy: {newest.exit_policy}")
    if advertised is not None and advertised != newest.address:
        findings.problem(
            "own node", f"the pools list it at {newest.address}, and --advertise is {advertised}",
            "it was started with another address, or the name leads elsewhere by now",
            "compare with the node's own --advertise, and with the name's address",
        )  # fmt: skip


async def look_at_port(
    reactor: Any,
    findings: Findings,
    address: Address,
    node_id: NodeId,
    *,
    listed: bool,
    probe: ProbeFunction,
    rng: Callable[[int], bytes],
) -> None:
    """Open a link to the node, as every neighbour does.

    :param listed: whether a pool lists it, which means that it can be reached from there
    """
    try:
        await probe(reactor, address, node_id, rng=rng, timeout=PROBE_TIME)
    except LinkError as error:
        if listed:
            findings.warn(
                "own port", f"no link to {address} opens from this machine: {error}",
                "pools reach it; a router often does not lead back to its own inside", "nothing, if that is the reason",
            )  # fmt: skip
        else:
            findings.problem(
                "own port", f"no link to {address} opens: {error}",
                "the node does not run, listens elsewhere, has another key, or a firewall keeps others out",
                "check --listen (127.0.0.1 is this machine alone), --advertise, the firewall, and the router's port"
                " forwarding",
            )  # fmt: skip
    else:
        findings.ok("own port", f"a link to {address} opens, and the node there proves the identity {node_id.short}")
