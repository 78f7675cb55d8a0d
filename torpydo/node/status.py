"""What a node shows of itself: counts, never who, where or what."""

from __future__ import annotations

import attrs

__all__ = ["NodeStatus"]


@attrs.frozen
class NodeStatus:
    """A node at one moment.

    :ivar links: open links to clients and nodes
    :ivar circuits: circuits through or to this node
    :ivar streams: outside connections, and lookups, that are open or being opened
    :ivar queued: bytes of cells and stream data that wait
    """

    links: int
    circuits: int
    streams: int
    queued: int
