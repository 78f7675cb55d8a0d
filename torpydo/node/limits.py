"""The figures of a node: each with its unit and its reason. SECURITY D1-D3, F5-F6 and table T are the sources."""

from __future__ import annotations

from typing import Final

# -- Links
LINK_CONNECT: Final = 10.0
"""Seconds for TCP and the link handshake (table T)."""
LINK_IDLE: Final = 3600.0
"""Seconds that a link without circuits is kept (table T)."""
LINK_MAX_AGE: Final = 24 * 3600.0
"""Seconds after which a link takes no new circuits (DESIGN 4.3)."""
LINK_AGE_GRACE: Final = 60.0
"""Seconds more that a peer may still ask: its CREATE may have been under way."""
LINKS_PER_HOST: Final = 100
"""Links of clients from one address (D1)."""
MAX_DIALS: Final = 256
"""Links that are being opened at one time, so that EXTENDs to silent addresses cannot use up the sockets."""

# -- Circuits
CREATES_PER_SECOND: Final = 3.0
CREATES_BURST: Final = 90.0
"""Circuits that the clients at one address may open (D1)."""
CIRCUITS_PER_HOST: Final = 1000
"""Circuits of clients at one address that are open: the burst, and five minutes of the rate."""
CIRCUITS_PER_LINK: Final = 20_000
"""Circuits on a link between nodes: twice what SECURITY 31 asks a node to hold."""
EXTEND_ANSWER: Final = 10.0
"""Seconds for the next hop's CREATED (H9)."""
HANDSHAKE_SLICE: Final = 0.005
"""Seconds of circuit handshakes after which cells have their turn (H7)."""
HANDSHAKE_DELAY: Final = 1.75
"""Seconds that a CREATE may have to wait; beyond it the answer is DESTROY at once (D3)."""
HANDSHAKE_AGE: Final = 5.0
"""Seconds after which a CREATE that still waits is not answered with a circuit any more (D3)."""
HANDSHAKE_COST: Final = 0.0005
"""Seconds that a handshake is taken to cost before any was measured (H7)."""
HANDSHAKES_WAITING: Final = 4000
"""CREATEs that wait (D3)."""

TEARDOWN_SLICE: Final = 0.005
"""Seconds of dropping circuits after which cells have their turn (H7)."""
TEARDOWN_BATCH: Final = 64
"""Circuits that are dropped together at the most: 64 KiB of DESTROYs ..."""
TEARDOWN_PAUSE: Final = 0.01
"""... in so many seconds, in which the next hop drops them too: what it has not read delays others."""

# -- Memory
CIRCUIT_QUEUE: Final = 24 * 1024 * 1024
"""Bytes of cells that may wait for one circuit: the largest window, and what acknowledges the largest window of the
other direction, a BULK cell for each 32 KiB. So an honest peer never has more (F5)."""
NODE_MEMORY: Final = 256 * 1024 * 1024
"""Bytes of cells and stream data that wait in a node; above it circuits die, those that wait longest first, until nine
tenths are left (F6)."""

# -- Streams
STREAMS_PER_SECOND: Final = 100.0
STREAMS_BURST: Final = 300.0
"""Streams and lookups that one circuit may ask for (D2)."""
READ_HIGH: Final = 64 * 1024
"""Bytes of a stream that wait for window or credit, above which its socket is not read (Twisted's own mark)."""
CONNECT_TIMEOUT: Final = 10.0
"""Seconds for connecting to a destination, all its addresses together (table T)."""
CONNECT_ADDRESSES: Final = 3
"""Addresses of a destination that are tried."""
LINGER: Final = 60.0
"""Seconds that a destination may take to accept the last bytes after the client has closed ..."""
LINGER_RATE: Final = 4096
"""... and bytes a second that it must take of more: the client saw a clean end, so slowness is no reason to cut."""
