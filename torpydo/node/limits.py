"""The figures of a node: each with its unit and its reason. SECURITY D1-D4, L5, F5-F6 and table T are the sources;
docs/howto/limits.rst has the table.

:class:`NodeLimits` is what an operator may change. What only says how the work is cut up is a constant.
"""

from __future__ import annotations

from typing import Final

import attrs

from torpydo.net import Limits, limit

__all__ = ["DEFAULT_LIMITS", "LimitsInForce", "NodeLimits"]


@attrs.frozen
class NodeLimits(Limits):
    """What a node bounds. Those by address count one IPv4 address, or one IPv6 /64."""

    # -- Links
    connects_per_second: float = limit(20.0, "connections a second", "from one address (D1)", lifted=True)
    connects_burst: int = limit(40, "connections", "from one address at once (D1)", lifted=True)
    connects_refused: float = limit(600.0, "seconds", "an address is refused that connects faster (D1)")
    links_pending: int = limit(
        256,
        "links",
        "have not finished their handshake; the oldest of the address with the most makes room for another (L5)",
    )
    links_pending_per_host: int = limit(
        10, "links", "of them are of one address; its oldest makes room for another (L5)", lifted=True
    )
    links_per_host: int = limit(100, "links", "of clients at one address are open (D1)", lifted=True)
    dials: int = limit(256, "links", "are being opened by the node at one time; half of them to nodes at least")
    dials_per_host: int = limit(16, "links", "of them are for clients at one address", lifted=True)
    link_connect: float = limit(10.0, "seconds", "for TCP and the link handshake with another node (table T)")
    link_idle: float = limit(3600.0, "seconds", "a link without circuits is kept (table T)")
    link_age: float = limit(86400.0, "seconds", "a link takes new circuits (L4)")
    link_stuck: float = limit(90.0, "seconds", "a link may take nothing more of what waits for it")

    # -- Circuits
    creates_per_second: float = limit(3.0, "circuits a second", "are made for clients at one address (D1)", lifted=True)
    creates_burst: int = limit(90, "circuits", "are made for clients at one address at once (D1)", lifted=True)
    circuits_per_host: int = limit(
        1000, "circuits", "of clients at one address are open: the burst, and five minutes of the rate", lifted=True
    )
    circuits_per_link: int = limit(20_000, "circuits", "are on a link between nodes")
    extend_answer: float = limit(10.0, "seconds", "the next node has to accept a circuit (H9)")
    creates_waiting: int = limit(4000, "circuits", "wait for their handshake (D3)")
    create_delay: float = limit(1.75, "seconds", "a handshake may have to wait; more are refused at once (D3)")
    create_age: float = limit(5.0, "seconds", "a handshake has waited at the most when it is done (D3)")

    # -- Memory
    memory: int = limit(
        256 << 20,
        "bytes",
        "wait in the node; above it circuits are destroyed, those with the oldest bytes first, until nine tenths are"
        " left (F6)",
        least=1 << 20,
    )
    circuit_queue: int = limit(
        24 << 20,
        "bytes",
        "wait in a link for one circuit: the largest window, and the acknowledgements of the other direction (F5)",
        least=1 << 20,
    )

    # -- Streams
    streams_per_second: float = limit(
        100.0, "streams a second", "and lookups are opened for one circuit (D2)", lifted=True
    )
    streams_burst: int = limit(300, "streams", "and lookups are opened for one circuit at once (D2)", lifted=True)
    streams_per_circuit: int = limit(
        1000, "streams", "and lookups of one circuit are open; the protocol ends at 1000 (D2)"
    )
    stream_connect: float = limit(
        10.0, "seconds", "for connecting to a destination, all its addresses together (table T)"
    )
    linger: float = limit(60.0, "seconds", "a destination may take for the last bytes after the client has closed")
    linger_rate: int = limit(4096, "bytes a second", "more of them make that time longer")
    lookup_try: float = limit(1.0, "seconds", "pass until a name is asked for again (table T)", least=0.1)
    lookup_tries: int = limit(3, "times", "a name is asked for (table T)")
    lookups: int = limit(
        128,
        "questions",
        "for names are not answered, those that nobody waits for any more among them; one circuit gets no more than"
        " half of what the others leave",
    )
    names: int = limit(10_000, "names", "are remembered (E5)")

    # -- Onion services
    introduction_points: int = limit(1000, "services", "are introduced by the node")
    introductions_per_second: float = limit(25.0, "introductions a second", "are passed to one service (O5)")
    introductions_burst: int = limit(200, "introductions", "are passed to one service at once (O5)")
    introductions_waiting: int = limit(64, "introductions", "wait for their turn at one service: the highest efforts")
    introductions_wait: float = limit(
        2.5, "seconds", "one of them waits, about as long as all of them take to be passed", least=0.1
    )
    introductions_queue: int = limit(256 << 10, "bytes", "that were passed to one service wait in its link")
    introductions_remembered: int = limit(
        262_144,
        "introductions",
        "with an effort are remembered, so that each counts once; when there are more, those to the service with the"
        " most are forgotten",
    )
    rendezvous: int = limit(4000, "clients", "wait for their service")
    rendezvous_wait: float = limit(60.0, "seconds", "a client may wait for its service")
    questions_per_second: float = limit(
        50.0, "questions a second", "of one address to the hash table are answered (K6)", lifted=True
    )
    questions_burst: int = limit(
        1000, "questions", "of one address to the hash table are answered at once (K6)", lifted=True
    )

    def share(self, workers: int) -> NodeLimits:
        """What one of so many workers may use of what the machine has."""
        return attrs.evolve(self, memory=self.memory // workers, links_pending=max(1, self.links_pending // workers))


DEFAULT_LIMITS: Final = NodeLimits()


@attrs.define(eq=False)
class LimitsInForce:
    """The limits as they count now: a test network is without those that make no sense on one machine.

    :ivar configured: what the operator chose
    """

    configured: NodeLimits
    now: NodeLimits = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.now = self.configured

    def network_changed(self, *, test_network: bool) -> None:
        """The listings say whether this is a test network."""
        self.now = self.configured.in_test_network() if test_network else self.configured


LINK_AGE_GRACE: Final = 60.0
"""Seconds that a peer may still ask for circuits on a link that is too old: its CREATE may have been under way."""

HANDSHAKE_SLICE: Final = 0.005
"""Seconds of circuit handshakes after which cells have their turn (H7) ..."""
HANDSHAKE_SHARE: Final = 1 / 3
"""... and less, if cells took less since the last one: this part of that. So a storm leaves three quarters of the
processor to the cells of those that have circuits (D3) ..."""
IDLE_TURN: Final = 0.0001
"""... unless they took less than this, a turn of the reactor in which nothing was ready ..."""
HANDSHAKE_LEAST: Final = 0.002
"""... after which there are so many seconds: a node with nothing else to do is to be quick."""
HANDSHAKE_COST: Final = 0.0005
"""Seconds that a handshake is taken to cost before any was measured (H7)."""
HANDSHAKE_MOST: Final = 0.1
"""Seconds that one is taken to have cost at the most: the process may have been stopped meanwhile."""

TEARDOWN_SLICE: Final = 0.005
"""Seconds of dropping circuits after which cells have their turn (H7)."""
TEARDOWN_BATCH: Final = 64
"""Circuits that are dropped together at the most: 64 KiB of DESTROYs ..."""
TEARDOWN_PAUSE: Final = 0.01
"""... in so many seconds, in which the next hop drops them too: what it has not read delays others."""

READ_HIGH: Final = 64 * 1024
"""Bytes of a stream that wait for window or credit, above which its socket is not read (Twisted's own mark)."""
CONNECT_ADDRESSES: Final = 3
"""Addresses of a destination that are tried."""
CACHE_HIGH: Final = 0.2
"""The part of the memory above which what is only remembered is cut when the memory is used up ..."""
CACHE_LOW: Final = 0.1
"""... and to which (F6)."""
