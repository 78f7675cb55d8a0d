"""The lines about the DHT: lookups in a simulation with virtual time. Their goals, beside ``goals``.

The size and the case stand in the place of the conditions: ``n = 1000, 20 % liars``. No figure depends on the machine.
"""

from __future__ import annotations

from torpydo.cli.bench.lines import Better, Goal, Line

__all__ = ["DHT_GOALS", "DHT_KEYS", "DHT_LINES", "DHT_SIZES", "among", "case_of", "size_of"]

DHT_SIZES = (50, 100, 200, 500, 1000, 2000)
"""Simulated nodes."""
HONEST = "all honest"

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


def among(size: int, percent: float, case: str) -> str:
    """The conditions of a figure that was measured with so many nodes.

    :param percent: how many of them are those of *case*
    """
    return f"n = {size}, {percent:g} % {case}" if percent else f"n = {size}, {HONEST}"


def size_of(conditions: str) -> int:
    """How many nodes there were under conditions of :func:`among`."""
    return int(conditions.partition(",")[0].removeprefix("n = "))


def case_of(conditions: str) -> str:
    """What stands in conditions of :func:`among` besides the size."""
    return conditions.partition(", ")[2]


# The issue asks for it: a lookup that fails is a service that cannot be reached.
DHT_GOALS = (Goal("dht_found", among(1000, 20, "liars"), 99),)
