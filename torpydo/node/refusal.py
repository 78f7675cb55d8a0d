"""Why a node refuses something, or ends what it had taken: what its counters and log lines call it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from torpydo.net import GateRefusal
from torpydo.tpdp import ExtendStatus

__all__ = ["BY_GATE", "BY_STATUS", "NodeRefusal"]


class NodeRefusal(Enum):
    """A cause; the value is the words for it."""

    # -- Connections
    CONNECTS_TOO_FAST = GateRefusal.CONNECTS_TOO_FAST.value
    LINKS_PER_HOST = GateRefusal.LINKS_PER_HOST.value
    LINKS_PENDING = GateRefusal.LINKS_PENDING.value
    LINKS_PENDING_PER_HOST = GateRefusal.LINKS_PENDING_PER_HOST.value
    LINKS_UNFINISHED = GateRefusal.LINKS_UNFINISHED.value
    FILES = GateRefusal.FILES.value
    LINKS_FOR_FILES = "links, closed because few file descriptors were left"
    LINKS_FOR_MEMORY = "links, closed because too much waited in this node"
    LINKS_STUCK = "links whose other side took nothing for too long"
    LINKS_BROKEN = "links whose other side broke the protocol"

    # -- Circuits
    CREATES_TOO_FAST = "circuits of one address, because they came too fast"
    CIRCUITS_PER_HOST = "circuits of one address, because it had enough of them"
    CIRCUITS_PER_LINK = "circuits of another node, because its link had enough of them"
    CREATES_ON_OLD_LINK = "circuits on links that are too old, or that end"
    CREATES_STOPPING = "circuits, because this node is about to stop"
    CREATES_WAITING = "circuits that would have had to wait too long"
    CREATES_LATE = "circuits that have waited too long"
    CREATES_MALFORMED = "circuits that were asked for with another key, or malformed"
    CIRCUITS_BROKEN = "circuits, destroyed because cells of them broke the protocol"
    CIRCUIT_QUEUE = "circuits, destroyed because too much waited in one of them"
    MEMORY = "circuits, destroyed because too much waited in this node"

    # -- Extending them
    EXTEND_REFUSED = "extensions to where this node extends nothing"
    EXTEND_UNREACHABLE = "extensions to a node that could not be reached"
    EXTEND_TIMEOUT = "extensions to a node that did not answer in time"
    EXTEND_DESTROYED = "extensions that the next node refused"
    EXTEND_RESOURCE_LIMIT = "extensions that needed one link too many"

    # -- Streams
    EXIT_POLICY = "streams that the exit policy does not allow"
    SINGLE_HOP = "streams of circuits that come from a client without another node between"
    STREAMS_TOO_FAST = "streams and lookups of one circuit, because they came too fast"
    STREAMS_PER_CIRCUIT = "streams and lookups of one circuit, because it had enough of them"
    STREAMS_RESOURCE_LIMIT = "streams and lookups, because of what this machine has"
    STREAMS_LINGERING = "destinations that took the last bytes too slowly, or were too many such"

    # -- Onion services
    INTRODUCTION_POINTS = "introduction points of services, because this node has enough of them"
    INTRODUCTION_REPLACED = "introduction points that their service has moved to another circuit"
    INTRODUCTIONS_TOO_FAST = "introductions to a service, because they came too fast"
    RENDEZVOUS = "clients that would have waited for a service, because enough of them do"
    RENDEZVOUS_LATE = "clients whose service did not come in time"
    RENDEZVOUS_UNKNOWN = "services that came for a client that does not wait, or not any more"
    QUESTIONS_TOO_FAST = "questions of one address to the hash table, because they came too fast"


BY_GATE: Final[Mapping[GateRefusal, NodeRefusal]] = {cause: NodeRefusal[cause.name] for cause in GateRefusal}
BY_STATUS: Final[Mapping[ExtendStatus, NodeRefusal]] = {
    ExtendStatus.REFUSED: NodeRefusal.EXTEND_REFUSED,
    ExtendStatus.UNREACHABLE: NodeRefusal.EXTEND_UNREACHABLE,
    ExtendStatus.TIMEOUT: NodeRefusal.EXTEND_TIMEOUT,
    ExtendStatus.DESTROYED: NodeRefusal.EXTEND_DESTROYED,
    ExtendStatus.RESOURCE_LIMIT: NodeRefusal.EXTEND_RESOURCE_LIMIT,
}
