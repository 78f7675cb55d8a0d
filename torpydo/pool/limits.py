"""The figures of a pool that an operator may change: each with its unit and its reason. SECURITY N5, D1, D6, L5 and
table T are the sources; docs/howto/run-a-pool.rst has the table. What only says how the work is cut up is a constant
where it is used.
"""

from __future__ import annotations

from typing import Final

import attrs

from torpydo.net import Limits, limit

__all__ = ["DEFAULT_LIMITS", "PoolLimits"]


@attrs.frozen
class PoolLimits(Limits):
    """What a pool bounds. Those by address count one IPv4 address, or one IPv6 /64.

    They do not count this machine itself, where a web server may stand in front of the pool.
    """

    # -- Requests
    connections: int = limit(
        512, "connections", "are open at one time; the oldest without a request makes room for another (D1)"
    )
    connections_per_host: int = limit(16, "connections", "of them are of one address (D1)", lifted=True)
    request_time: float = limit(
        10.0, "seconds", "a reader has from its connection, or its last answer, to a whole request (table T)"
    )
    answer_time: float = limit(
        60.0, "seconds", "an answer takes at the most, the probe before it and a slow reader included (table T)"
    )
    headers: int = limit(100, "headers", "a request has at the most (D6)", least=20)
    header_bytes: int = limit(16 << 10, "bytes", "they have together (D6, table T)", least=1024)

    # -- Heartbeats
    heartbeats_per_host: float = limit(
        2.0, "heartbeats a second", "are read from one address (D1)", least=0.1, lifted=True
    )
    heartbeats_per_host_burst: int = limit(40, "heartbeats", "are read from one address at once (D1)", lifted=True)
    heartbeats_per_second: float = limit(
        3000.0, "heartbeats a second", "are read from all: four times what 10 000 nodes send, what one core can answer"
    )
    heartbeats_burst: int = limit(3000, "heartbeats", "are read from all at once")

    # -- Probes
    probes_running: int = limit(16, "probes", "run at one time (N5)")
    probes_waiting: int = limit(
        32, "probes", "wait for their turn: at 10 s each the last is over before its node stops waiting (N5)", least=0
    )
    probes_per_host: float = limit(
        0.1, "probes a second", "go to one address, whoever asks for them (N5)", least=0.001, lifted=True
    )
    probes_per_host_burst: int = limit(6, "probes", "go to one address at once (N5)", lifted=True)
    probes_per_second: float = limit(100.0, "probes a second", "go to all addresses (N5)", least=0.1, lifted=True)
    probes_burst: int = limit(200, "probes", "go to all addresses at once (N5)", lifted=True)

    # -- Stamps
    stamps_running: int = limit(1, "stamps", "are checked at one time; each takes a core and 64 MiB meanwhile (K1)")
    stamps_waiting: int = limit(64, "stamps", "wait for their turn: some seconds for the last (K1)", least=0)

    # -- Nodes
    nodes_per_host: int = limit(
        2, "nodes", "on one address are listed, those that were listed first (N5)", lifted=True
    )
    nodes: int = limit(10_000, "nodes", "are kept, listed or not; a listing holds 32 768 at the most (D6)")
    strangers: int = limit(4096, "nodes", "are remembered that were never reached (N5)")


DEFAULT_LIMITS: Final = PoolLimits()
