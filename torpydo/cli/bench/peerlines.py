"""The lines about peers that find each other: a simulation with virtual time. Their goals, beside ``goals``."""

from __future__ import annotations

from torpydo.cli.bench.lines import Better, Goal, Line
from torpydo.cli.bench.simulated import among

__all__ = ["PEER_GOALS", "PEER_KEYS", "PEER_LINES", "PEER_SIZES"]

PEER_SIZES = (100, 300, 1000)
"""Simulated peers."""

PEER_LINES = {
    line.key: line
    for line in (
        Line("peers_share", "peers that know nine of ten others", "%", Better.MORE),
        Line("peers_known", "others that a peer knows", "%", Better.MORE),
        Line("peers_minutes", "virtual time until nine of ten do so", "min", Better.LESS),
        Line("peers_bytes", "what a peer writes in an hour", "kB", Better.LESS),
        Line("peers_false", "names in its table that nobody runs", "", Better.LESS),
        Line("peers_bad", "bad records that it is brought in an hour", "", Better.LESS),
        Line("peers_refused", "... and records that it has no room for", "", Better.LESS),
        Line("peers_work", "work of the others (1 = of the honest)", "", Better.MORE),
    )
}
"""Every line by its key."""

PEER_KEYS = tuple(PEER_LINES)

# A thousand peers, and a fifth of them that is not honest.
PEER_GOALS = (
    Goal("peers_share", among(1000, 0, "liars"), 99),
    Goal("peers_share", among(1000, 20, "liars"), 99),
)
"""The figures about peers that have a goal."""
