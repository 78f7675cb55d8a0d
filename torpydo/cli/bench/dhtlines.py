"""The lines about the DHT: lookups in a simulation with virtual time. Their goals, beside ``goals``."""

from __future__ import annotations

from torpydo.cli.bench.lines import Better, Goal, Line
from torpydo.cli.bench.simulated import among

__all__ = ["DHT_GOALS", "DHT_KEYS", "DHT_LINES", "DHT_SIZES"]

DHT_SIZES = (50, 100, 200, 500, 1000, 2000)
"""Simulated nodes."""

DHT_LINES = {
    line.key: line
    for line in (
        Line("dht_found", "lookups that found the newest item", "%", Better.MORE),
        Line("dht_hops", "steps to the closest node", "", Better.LESS),
        Line("dht_questions", "questions of a lookup", "", Better.LESS),
        Line("dht_time", "virtual time of a lookup", "s", Better.LESS),
    )
}
"""Every line by its key."""

DHT_KEYS = tuple(DHT_LINES)

# A lookup that fails is a service that cannot be reached.
DHT_GOALS = (Goal("dht_found", among(1000, 20, "liars"), 99),)
