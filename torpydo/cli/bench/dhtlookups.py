"""Measures the lines of ``dhtlines``: lookups in simulated networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from torpydo.cli.bench.dhtlines import DHT_KEYS, DHT_LINES, DHT_SIZES
from torpydo.cli.bench.simulated import Found, Kind, SimulatedPlan

__all__ = ["LOOKUPS", "DHTPlan"]

OTHERS = ("sybils", "late", "forgers", "stale", "random", "leaving", "churn", "cut off")
"""What a fifth of the nodes does besides, at the sizes that have goals."""


@attrs.frozen(kw_only=True)
class DHTPlan(SimulatedPlan):
    """How much is measured."""

    keys: frozenset[str] = frozenset(DHT_KEYS)
    sizes: tuple[int, ...] = DHT_SIZES
    others: tuple[str, ...] = OTHERS
    other_sizes: tuple[int, ...] = (1000,)
    lookups: int = 200

    @classmethod
    def short(cls, keys: Iterable[str] = DHT_KEYS) -> DHTPlan:
        """Enough to show that it works."""
        return cls(keys=frozenset(keys), sizes=(20, 40, 80), other_sizes=(20,), lookups=20)


def _options(plan: DHTPlan, size: int) -> Sequence[str]:
    return f"--nodes={size}", f"--lookups={plan.lookups}"


def _samples(found: Found) -> Mapping[str, Sequence[float]]:
    return {
        "dht_found": [100 * sum(found["found"]) / len(found["found"])],
        "dht_hops": found["hops"],
        "dht_questions": found["questions"],
        "dht_time": found["seconds"],
    }


LOOKUPS = Kind("dht", "torpydo.testing.dhtlookups", DHT_LINES, _options, _samples)
"""Lookups in the DHT."""
