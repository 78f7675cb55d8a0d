"""Build one circuit and measure how that went; another one is tried when a node refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from torpydo.client import Circuit, Client
from torpydo.errors import CircuitBuildError

__all__ = ["Built", "build_for_port"]

TRIES = 3


@attrs.frozen
class Built:
    """A circuit, and how it was built."""

    circuit: Circuit
    seconds: float
    """From asking for it to having it."""
    hop_times: Sequence[float]
    """For each hop the seconds from asking for it to its answer."""


async def build_for_port(reactor: Any, client: Client, port: int, hops: int) -> Built:
    """A new circuit whose exit accepts *port*.

    :raises TorpydoError: if no path can be chosen, or no circuit could be built
    """
    tries = 0
    while True:
        started = reactor.seconds()
        try:
            circuit = await client.build_circuit(hops=hops, port=port)
            return Built(circuit, reactor.seconds() - started, circuit.hop_times)
        except CircuitBuildError:
            tries += 1
            if tries == TRIES:
                raise
