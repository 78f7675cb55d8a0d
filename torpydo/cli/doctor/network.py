"""What the doctor makes of all listings together: whether the pools agree, and whether there are paths.

Called by command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from torpydo.cli.doctor.findings import Findings
from torpydo.cli.doctor.pools import name_of
from torpydo.directory import Listing, NetDir, PoolURL, choose_path
from torpydo.errors import PathError

__all__ = ["look_at_agreement", "look_at_paths"]

HOPS: Final = 3
FEW_NODES: Final = 10
"""Nodes with which there are so few paths that whoever runs some of them sees much."""


def look_at_agreement(
    findings: Findings, urls: Sequence[PoolURL], listings: Mapping[PoolURL, Listing], threshold: int | None, now: float
) -> NetDir | None:
    """Whether enough pools answer, and whether they say the same (SECURITY N1, N9).

    :return: the network as a client with these pools sees it; ``None`` if it would not use it
    """
    netdir = NetDir.merge(listings, urls, threshold, now)
    if netdir.pools_used < netdir.threshold:
        findings.problem(
            "pools", f"{netdir.pools_used} of {netdir.configured} pools gave a listing, {netdir.threshold} must",
            "see what stands above of each of them", "until then what runs goes on with the listings on its disk",
        )  # fmt: skip
        return None
    if netdir.configured == 1:
        findings.warn(
            "pools", "there is only one", "whoever runs it, or takes it over, chooses which nodes you see",
            "name several --pool= of different people",
        )  # fmt: skip
    else:
        _compare(findings, netdir, listings)
    findings.ok(
        "network", f"{len(netdir.nodes)} nodes that at least {netdir.threshold} of {netdir.configured} pools list,"
        f" digest {netdir.digest[:16]}: whoever has the same pools should see the same within some minutes",
    )  # fmt: skip
    return netdir


def _compare(findings: Findings, netdir: NetDir, listings: Mapping[PoolURL, Listing]) -> None:
    names = {listing.pool_id: name_of(url) for url, listing in listings.items()}
    apart = [
        f"{names[view.pool_id]} lists {view.listed}, lacks {view.missing} of the {len(netdir.nodes)} in use, and has"
        f" {view.listed - view.used} that too few others list"
        for view in netdir.pools
        if view.missing or view.listed > view.used
    ]
    if not apart:
        findings.ok("pools", f"all {netdir.pools_used} that answered list the same {len(netdir.nodes)} nodes")
        return
    findings.warn(
        "pools", f"they do not list the same nodes: {'; '.join(apart)}",
        "nodes that came or went a moment ago; a node that one pool cannot reach, or was not told of; a pool that lies",
        "look again in a minute. If it stays, ask the operators of these nodes whether they name every pool, and the"
        " operator of the pool that stands alone",
    )  # fmt: skip


def look_at_paths(findings: Findings, netdir: NetDir, port: int, randbelow: Callable[[int], int]) -> None:
    """Whether there are nodes enough for circuits, and exits for a port (SECURITY P1)."""
    descriptors = list(netdir.nodes.values())
    exits = [node for node in descriptors if node.exit_policy.is_open]
    accepting = [node for node in exits if node.exit_policy.may_allow_port(port)]
    findings.ok("nodes", f"{len(descriptors)} that can be guard or middle, {len(exits)} of them exits")
    if netdir.test_network:
        findings.warn(
            "network", "it is a test network", "one of its pools was started with --test-network and the others agree",
            "for trying out only: the rules for subnets and addresses do not protect its clients",
        )  # fmt: skip
    elif 0 < len(descriptors) < FEW_NODES:
        findings.warn(
            "nodes", f"{len(descriptors)} are few", "with few nodes there are few paths, and few people to be one of",
            "find more people to run nodes",
        )  # fmt: skip
    if not accepting:
        findings.problem(
            f"port {port}", "no exit accepts it", f"{len(exits)} exits are open, for other ports",
            "ask operators to open it in --exit-policy, or use another port",
        )  # fmt: skip
        return
    findings.ok(f"port {port}", f"{len(accepting)} exits accept it")
    try:
        choose_path(netdir, hops=HOPS, port=port, randbelow=randbelow)
    except PathError as error:
        findings.problem(
            "paths", f"none of {HOPS} hops to port {port} can be chosen", str(error),
            "a path has no two nodes of one family, or of one subnet: more nodes elsewhere are needed",
        )  # fmt: skip
    else:
        findings.ok("paths", f"one of {HOPS} hops to port {port} can be chosen")
