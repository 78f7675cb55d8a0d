"""The numbers of TPDP/1. Each names its section of docs/protocol; those marked *ours* may differ between nodes."""

from __future__ import annotations

from enum import IntEnum

# -- Frames (protocol, section Frames). Plain integers, not an Enum: they are compared once for each cell.
PADDING = 0
CREATE = 1
CREATED = 2
CELL = 3
BULK = 4
DESTROY = 5
AUTH = 6
EARLY = 9

HEADER_SIZE = 5
"""circ_id u32 ‖ command u8."""
BODY_SIZE = 1024
"""Bytes in the body of every frame but BULK."""
BULK_SIZE = 16384
"""Bytes in the body of a BULK frame."""
BODY_SIZES = {
    PADDING: BODY_SIZE,
    CREATE: BODY_SIZE,
    CREATED: BODY_SIZE,
    CELL: BODY_SIZE,
    BULK: BULK_SIZE,
    DESTROY: BODY_SIZE,
    AUTH: BODY_SIZE,
    EARLY: BODY_SIZE,
}
INITIATOR_BIT = 0x8000_0000
"""Set in every circuit id that the side which opened the link picks."""
MAX_UNKNOWN_PER_MINUTE = 100
"""Frames for circuits that do not exist, before the link is closed."""

MAX_CLOSING = 20_000
"""Circuits of a link that were destroyed and that the peer has not let go yet; and DESTROYs that it has not taken
when it asks for another circuit (*ours*)."""
KEEPALIVE = 30.0
"""Seconds between two PADDING frames of a link, so that a peer that vanished is noticed (*ours*)."""
SILENCE = 90.0
"""Seconds without a byte after which the peer of a link is taken for dead (*ours*)."""
PADDING_LEAST = 1.5
PADDING_MOST = 9.5
"""Seconds that a client's link with circuits may be idle, at the least and at the most: routers close the record of a
flow after 10 s or more (*ours*)."""

# -- Records (section Records).
MAX_RECORD_FRAMES = 4 * (HEADER_SIZE + BULK_SIZE)
"""Bytes of whole frames in one record, at the most."""
RECORD_RATCHET = 1 << 17
"""Seals under one record key."""

# -- Handshake (section Handshake).
HANDSHAKE_SIZE = 512
"""Bytes of every handshake message."""
OPTIONS_SIZE = HANDSHAKE_SIZE - 32 - 16
LINK_TIMEOUT = 10.0
"""Seconds from the first byte to a link that is ready (*ours*)."""
PROTOCOL_VERSION = 1

# -- Cells (section Cells).
MAX_HOPS = 8
MAC_SIZE = 16
MAX_EARLY = MAX_HOPS - 1
"""EARLY cells that a node passes on one circuit."""
MARK = bytes(16)
"""What a forward cell ends in at the hop that it is for, and the 16 bytes of ciphertext that are not on the wire."""
FORWARD_HEAD = 128
FORWARD_OVERHEAD = FORWARD_HEAD + 16
"""Bytes of a forward body that are not payload."""
BACKWARD_OVERHEAD = 16
EPOCH = 256
"""Cells under one layer key."""
MAX_COUNTER = 1 << 48

# -- Messages (section Messages).
MESSAGE_HEADER = 7
"""type u8 ‖ stream u32 ‖ length u16."""

# -- Onion services (protocol-onion, section Conversations).
COOKIE_SIZE = 20
"""Bytes of a rendezvous cookie."""
NONCE_SIZE = 16
"""Bytes of a puzzle's solution."""
SEED_SIZE = 32
"""Bytes of a puzzle's seed."""

# -- Flow control (section Flow control).
ACK_INTERVAL = 32 * 1024
"""Bytes of cells with DATA between two acknowledgements."""
ACK_RANDOM = 16
"""Random bytes in the cell that closes an interval."""
WINDOW_START = 256 * 1024
"""Congestion window of a new circuit in bytes."""
WINDOW_MIN = 64 * 1024
WINDOW_MAX = 16 * 1024 * 1024
STREAM_CREDIT = 64 * 1024
"""Credit of a stream each way when it opens."""
STREAM_CREDIT_MAX = WINDOW_MAX
"""What the credit of a stream may grow to while its consumer keeps up (*ours*) ..."""
CREDIT_SECONDS = 1.0
"""... and for how many seconds at the pace of that consumer: the longest round trip that it covers (*ours*)."""
BUFFER_HIGH = 64 * 1024
"""Bytes waiting in a stream at which its producer is to pause (*ours*)."""
BUFFER_LOW = 32 * 1024
BULK_THRESHOLD = 4 * 1024
"""Bytes that must wait before a forward cell is BULK."""
EXIT_READ = 4 * (BULK_SIZE - BACKWARD_OVERHEAD - MESSAGE_HEADER) - 2 * (MESSAGE_HEADER + ACK_RANDOM)
"""Bytes that fill four backward BULK cells, two of which close an interval: what an exit reads at a time (*ours*)."""
ORIGIN_READ = 4 * (BULK_SIZE - FORWARD_OVERHEAD - MESSAGE_HEADER) - 2 * (MESSAGE_HEADER + ACK_RANDOM)
"""The same for forward cells, and for both directions of a joined circuit: what a builder reads at a time (*ours*). A
little more would be a small cell and a second record for each read, at each node of the way."""
END_TIME = 60.0
"""Seconds, or the circuit's round trip if that is longer, in which END is answered (*ours*; SECURITY F8)."""
MAX_STREAMS = 1000
"""Streams open on one circuit (*ours*)."""


class EndReason(IntEnum):
    """Why a stream ended. A client sends only DONE and MISC: anything else would tell what it is."""

    DONE = 1
    """Everything was sent and nothing more is wanted: the only clean end."""
    MISC = 2
    RESOLVE_FAILED = 3
    CONNECT_REFUSED = 4
    EXIT_POLICY = 5
    TIMEOUT = 6
    HOST_UNREACHABLE = 7
    NETWORK_UNREACHABLE = 8
    RESET = 9
    RESOURCE_LIMIT = 10
    RESOLVE_TIMEOUT = 11


class ExtendStatus(IntEnum):
    """What came of an EXTEND."""

    OK = 0
    REFUSED = 1
    """The node may not extend there: itself, its predecessor, a private address, an invalid key."""
    UNREACHABLE = 2
    TIMEOUT = 3
    IDENTITY_MISMATCH = 4
    DESTROYED = 5
    """The next hop answered with DESTROY."""
    RESOURCE_LIMIT = 6


class IntroduceStatus(IntEnum):
    """What an introduction point did with an INTRODUCE1."""

    OK = 0
    UNKNOWN = 1
    """No service has this introduction point, or not any more."""
    TOO_MANY = 2
    """It gives the service as many as it takes for now, and others have made more effort."""
