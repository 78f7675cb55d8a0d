"""The figures of a client that a user may change: each with its unit and its reason. SECURITY P4, F6, H9, S5 and
table T are the sources; docs/howto/limits.rst has the table.
"""

from __future__ import annotations

from typing import Final

import attrs

from torpydo.net import Limits, limit

__all__ = ["DEFAULT_LIMITS", "ClientLimits"]


@attrs.frozen
class ClientLimits(Limits):
    """What a client bounds."""

    memory: int = limit(
        64 << 20,
        "bytes",
        "wait in the client; above it circuits are closed, those with the oldest bytes first, until nine tenths are"
        " left (F6)",
        least=1 << 20,
    )
    circuits_pending: int = limit(32, "circuits", "are being built at one time, slow ones included (P4)")
    circuits_clean: int = limit(14, "circuits", "wait unused, built or being built (P4)", least=0)
    circuit_dirty_life: float = limit(600.0, "seconds", "a circuit takes new streams after its first (table T)")
    circuit_clean_life: float = limit(3600.0, "seconds", "a circuit waits unused (table T)")
    streams_per_circuit: int = limit(
        500, "streams", "are open on a circuit before the next goes to another; the protocol ends at 1000 (D2)"
    )
    stream_wait: float = limit(60.0, "seconds", "a stream waits for a circuit")
    stream_answer: float = limit(
        10.0,
        "seconds",
        "an exit has to connect, on the first and on the second circuit; half as much again on the third (table T)",
    )
    hop_answer: float = limit(10.0, "seconds", "a hop has to answer while a circuit is built (H9)")
    circuit_build: float = limit(60.0, "seconds", "a whole circuit has to be built, at the most (H9)")
    link_connect: float = limit(10.0, "seconds", "for TCP and the link handshake with a guard (table T)")
    link_idle: float = limit(1800.0, "seconds", "a link without circuits is kept (table T)")
    connections: int = limit(
        1000,
        "connections",
        "of applications are open to each proxy; the oldest without a request makes room for another (D4)",
    )
    request_time: float = limit(
        10.0, "seconds", "an application has from its connection to a whole request (table T)"
    )
    open_time: float = limit(120.0, "seconds", "an application waits for its stream at the most (table T)")

    @property
    def tries(self) -> tuple[float, ...]:
        """Seconds for CONNECTED, one try each."""
        return (self.stream_answer, self.stream_answer, 1.5 * self.stream_answer)

    def build_time(self, hops: int) -> float:
        """Seconds that a circuit of so many hops has to be built."""
        return min(self.hop_answer * hops, self.circuit_build)


DEFAULT_LIMITS: Final = ClientLimits()
