"""The figures of a node, a pool, a client and an onion service, from what each says of itself (SECURITY I3).

What people do through them has a step, so that it is told rounded and late. Called by the taps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torpydo.client import ClientStatus
from torpydo.node import NodeReport, NodeStatus
from torpydo.pool import IndexStatus
from torpydo.taps.figures import COUNT_STEP, SIZE_STEP, Figure, count, gauge, numbered, refused

__all__ = ["client_figures", "host_figures", "node_figures", "pool_figures"]

_LISTING_AGE = "Seconds since the listing in use was signed, by the number of the pool's --pool."


def node_figures(status: NodeStatus, report: NodeReport | None) -> Iterable[Figure]:
    """What a node tells.

    :param report: ``None`` while it does not run
    """
    yield gauge("links", "Open links to clients and nodes.", status.links)
    yield gauge("links_pending", "Connections whose handshake is not finished.", status.pending)
    yield gauge("files", "File descriptors in use, in the process that has the fewest left.", status.files)
    yield gauge("files_most", "How many that process may have.", status.files_most)
    words = "How late the latest timer of the last minute came, in the worker where it was worst."
    yield gauge("worker_lag_seconds", words, status.worker_lag)
    yield refused(status.refused)
    yield gauge("circuits", "Circuits through or to this node.", status.circuits, step=COUNT_STEP)
    yield gauge("streams", "Outside connections and lookups.", status.streams, step=COUNT_STEP)
    yield gauge("queued_bytes", "Bytes of cells and stream data that wait.", status.queued, step=SIZE_STEP)
    yield count("received_bytes", "Bytes that came over links.", status.received, step=SIZE_STEP)
    yield count("sent_bytes", "Bytes that went out over links.", status.sent, step=SIZE_STEP)
    yield count("handshakes", "Link handshakes that were finished.", status.handshakes, step=COUNT_STEP)
    yield count("circuits_made", "Circuits that were accepted.", status.circuits_made, step=COUNT_STEP)
    if report is None:
        return
    yield gauge("nodes", "Nodes that the listings in use name.", report.nodes)
    yield gauge("onion_key_age_seconds", "Seconds since the onion key was made.", report.onion_key_age)
    listed = [pool.lists_this_node for pool in report.pools]
    words = "Whether the pool lists this node, by the number of its --pool; missing while that is not known."
    yield numbered("listed", words, [None if one is None else float(one) for one in listed])
    yield numbered("listing_age_seconds", _LISTING_AGE, [pool.listing_age for pool in report.pools])


def pool_figures(status: IndexStatus | None) -> Iterable[Figure]:
    """What a pool tells; nodes are public, and nothing is told of those who fetch the listing.

    :param status: ``None`` while it does not run
    """
    if status is None:
        return
    yield gauge("nodes_listed", "Nodes that would be in a listing made now.", status.listed)
    yield gauge("nodes_known", "Nodes that are remembered.", status.known)
    yield gauge("nodes_pending", "Nodes to which no link has opened yet.", status.pending)
    yield gauge("probes", "Links to nodes that are being tried, or wait for their turn.", status.probes)
    yield count("heartbeats", "Heartbeats that were taken.", status.heartbeats)
    yield gauge("connections", "Open connections.", status.connections)
    if status.listing_age is not None:
        yield gauge("listing_age_seconds", "Seconds since the listing that is served was signed.", status.listing_age)
    yield gauge("listing_bytes", "Size of the listing, packed.", status.listing_bytes)
    yield gauge("database_bytes", "Size of the database.", status.database_bytes)
    yield refused(status.refused)


def client_figures(status: ClientStatus | None, *refusals: Mapping[str, int]) -> Iterable[Figure]:
    """What a client with its proxies tells.

    :param status: ``None`` while it does not run
    :param refusals: what the proxies refused, by cause; what the client did is in its status
    """
    yield refused(*refusals, {} if status is None else status.refused)
    if status is None:
        return
    yield gauge("ready", "Whether circuits can be built.", float(status.ready))
    yield gauge("bootstrap_ratio", "How far the bootstrap is.", status.percent / 100)
    yield gauge("nodes", "Nodes that the listings in use name.", status.nodes)
    if status.skew is not None:
        yield gauge("clock_skew_seconds", "How far this computer's clock is ahead of the network's.", status.skew)
    yield gauge("warnings", "Things that 'torpydo status' asks a person to look at.", len(status.warnings))
    yield numbered("listing_age_seconds", _LISTING_AGE, [pool.listing_age for pool in status.pools])
    yield gauge("circuits", "Circuits that are built.", len(status.circuits), step=COUNT_STEP)
    streams = sum([circuit.streams for circuit in status.circuits])
    yield gauge("streams", "Streams that are open.", streams, step=COUNT_STEP)
    yield gauge("queued_bytes", "Bytes that wait in all circuits.", status.queued, step=SIZE_STEP)


def host_figures(*, reachable: bool, introduction_points: int) -> Iterable[Figure]:
    """What an onion service tells besides what its client does."""
    yield gauge("reachable", "Whether clients can find the service.", float(reachable))
    yield gauge("introduction_points", "Nodes that introduce clients to the service.", introduction_points)
