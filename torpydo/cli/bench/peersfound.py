"""Measures the lines of ``peerlines``: simulated worlds of peers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from torpydo.cli.bench.peerlines import PEER_KEYS, PEER_LINES, PEER_SIZES
from torpydo.cli.bench.simulated import Found, Kind, SimulatedPlan

__all__ = ["PEERS", "PeersPlan"]

OTHERS = ("sybils", "flood", "churn", "cut off")
"""What a fifth of the peers does besides, at one size."""
ENOUGH = 90
"""Percent of the others."""


@attrs.frozen(kw_only=True)
class PeersPlan(SimulatedPlan):
    """How much is simulated."""

    keys: frozenset[str] = frozenset(PEER_KEYS)
    sizes: tuple[int, ...] = PEER_SIZES
    others: tuple[str, ...] = OTHERS
    other_sizes: tuple[int, ...] = (300,)
    minutes: int = 120

    @classmethod
    def short(cls, keys: Iterable[str] = PEER_KEYS) -> PeersPlan:
        """Enough to show that it works."""
        return cls(keys=frozenset(keys), sizes=(20, 40), other_sizes=(20,), minutes=90)


def _options(plan: PeersPlan, size: int) -> Sequence[str]:
    return f"--peers={size}", f"--minutes={plan.minutes}"


def _samples(found: Found) -> Mapping[str, Sequence[float]]:
    known = found["known"]
    shown: dict[str, Sequence[float]] = {
        "peers_share": [100 * sum(one >= ENOUGH for one in known) / len(known)],
        "peers_bytes": [one / 1000 for one in found["bytes"]],
    }
    return shown | {
        f"peers_{name}": found[name] for name in ("known", "minutes", "false", "bad", "refused", "work")
    }


PEERS = Kind("peers", "torpydo.testing.peersfound", PEER_LINES, _options, _samples)
"""Peers that find each other."""
