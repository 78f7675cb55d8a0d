"""What a pool refuses: the causes that it counts, and the refusal of a heartbeat, whose text goes to its node."""

from __future__ import annotations

from enum import Enum

from torpydo.errors import DirectoryError

__all__ = ["PoolRefusal", "Refused"]

BAD_REQUEST = 400
FORBIDDEN = 403
CONFLICT = 409
UNREACHABLE = 422
NO_STAMP = 428
TOO_MANY = 429
BUSY = 503


class PoolRefusal(Enum):
    """A cause; the value is the words for it, in the log and in the metrics."""

    # -- Requests
    CONNECTIONS = "connections, because too many were open"
    CONNECTIONS_PER_HOST = "connections of one address, because it had enough of them"
    FILES = "connections, because no file descriptor was left"
    REQUEST_TIME = "connections on which no request came in time"
    ANSWER_TIME = "connections whose answer took too long, or was not read"
    REQUEST_SIZE = "requests that were too long, or did not say how long they are"
    REQUEST_MALFORMED = "requests that were no HTTP, or had too many headers"

    # -- Heartbeats
    HEARTBEATS_PER_HOST = "heartbeats of one address, because they came too fast"
    HEARTBEATS = "heartbeats, because too many came"
    HEARTBEAT_MALFORMED = "heartbeats that were malformed, forged or of another time"
    HEARTBEAT_REPLAYED = "heartbeats that were not later than the last, or contradicted it"

    # -- Probes
    PROBES_PER_HOST = "heartbeats of an address that was probed too often"
    PROBES = "heartbeats that would have needed one probe too many"
    UNREACHABLE = "heartbeats of nodes to which no link opens"

    # -- Stamps
    STAMP = "heartbeats of nodes whose stamp has too few bits, or is forged"
    STAMPS = "heartbeats that would have needed a look at one stamp too many"

    # -- Nodes
    ADDRESS_PRIVATE = "heartbeats of nodes on private addresses"
    NODES_PER_HOST = "heartbeats of nodes on an address that has enough of them"
    NODES = "heartbeats of new nodes, because the pool is full"


class Refused(DirectoryError):
    """A heartbeat was refused.

    :ivar status: the HTTP status that says so
    :ivar cause: for the counters
    :ivar retry_after: seconds after which it may be taken; ``None``: not without a change
    """

    def __init__(self, status: int, cause: PoolRefusal, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.cause = cause
        self.retry_after = retry_after
