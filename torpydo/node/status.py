"""What a node shows of itself: counts, never who, where or what."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

__all__ = ["NodeStatus"]


@attrs.frozen
class NodeStatus:
    """A node at one moment. What is counted since the start never goes back while the node runs.

    :ivar links: open links to clients and nodes
    :ivar circuits: circuits through or to this node
    :ivar streams: outside connections, and lookups, that are open or being opened
    :ivar queued: bytes of cells and stream data that wait
    :ivar pending: connections to this node whose handshake is not finished
    :ivar files: file descriptors in use, in the process of the node that has the fewest left
    :ivar files_most: how many that process may have; 0: it does not know
    :ivar received: bytes that came over links since the start
    :ivar sent: bytes that went out over links since the start
    :ivar handshakes: link handshakes that were finished since the start, on either side
    :ivar circuits_made: CREATEs that were answered with a circuit since the start
    :ivar worker_lag: seconds that the latest timer of the last minute was late in the worker with the longest delay; 0
        without workers
    :ivar refused: what was refused since the start, by cause (``NodeRefusal`` in small letters)
    """

    links: int
    circuits: int
    streams: int
    queued: int
    pending: int = 0
    files: int = 0
    files_most: int = 0
    received: int = 0
    sent: int = 0
    handshakes: int = 0
    circuits_made: int = 0
    worker_lag: float = 0.0
    refused: Mapping[str, int] = attrs.field(factory=dict)
