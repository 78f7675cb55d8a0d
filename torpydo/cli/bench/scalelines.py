"""The lines of the table about size: many circuits, streams, nodes and heartbeats. Their goals, beside ``goals``.

The size stands in the place of the conditions: ``n = 10000``. Everything is on loopback.
"""

from __future__ import annotations

from torpydo.cli.bench.lines import Better, Goal, Line

__all__ = [
    "CIRCUITS",
    "GROWTH",
    "OFFERED",
    "SCALE_GOALS",
    "SCALE_GROUPS",
    "SCALE_KEYS",
    "SCALE_LINES",
    "SIZES",
    "STREAMS",
    "at",
]

SIZES = (1250, 2500, 5000, 10_000)
"""Nodes of a listing, or of a pool."""
MOST_NODES = max(SIZES)
CIRCUITS = 10_000
STREAMS = 1000
OFFERED = 1530
"""Heartbeats a second. The goal is 1500, until the last answer is there; with 1500 offered, no pool could reach it."""
GROWTH = 4
"""Growth compares a size with the one that is this many times smaller; n log n would be 4.7 to 5.2 times as much."""


def at(size: int) -> str:
    """The conditions of a figure that was measured with so many nodes, circuits or streams."""
    return f"n = {size}"


SCALE_LINES = {
    line.key: line
    for line in (
        Line("scale_node_memory", "memory of an idle node", "MB", Better.LESS),
        Line("scale_circuits_memory", "... more with n idle circuits", "MB", Better.LESS),
        Line("scale_circuits_calm", "longest round trip beside them", "ms", Better.LESS),
        Line("scale_circuits_stall", "... while they all end", "ms", Better.LESS),
        Line("scale_streams_failed", "n streams on few circuits: failed", "", Better.LESS),
        Line("scale_streams_spread", "... last to end / first to end", "x", Better.LESS),
        Line("scale_streams_rate", "... all together", "MB/s", Better.MORE),
        Line("scale_listing_ready", "listing to paths, n nodes", "ms", Better.LESS),
        Line("scale_listing_growth", "... at n / at n/4", "x", Better.LESS),
        Line("scale_path", "choice of a path, median", "ms", Better.LESS),
        Line("scale_path_longest", "... longest", "ms", Better.LESS),
        Line("scale_heartbeats", f"heartbeats answered of {OFFERED}/s", "1/s", Better.MORE),
        Line("scale_heartbeats_p50", "... time to the answer, median", "ms", Better.LESS),
        Line("scale_heartbeats_p99", "... and the 99th percentile", "ms", Better.LESS),
        Line("scale_heartbeats_most", "heartbeats answered, at the most", "1/s", Better.MORE),
        Line("scale_admission", "new nodes admitted", "1/s", Better.MORE),
    )
}
"""Every line by its key, in the order of the table."""

SCALE_KEYS = tuple(SCALE_LINES)

SCALE_GROUPS = {
    "circuits": ("scale_node_memory", "scale_circuits_memory", "scale_circuits_calm", "scale_circuits_stall"),
    "streams": ("scale_streams_failed", "scale_streams_spread", "scale_streams_rate"),
    "listing": ("scale_listing_ready", "scale_listing_growth", "scale_path", "scale_path_longest"),
    "heartbeats": (
        "scale_heartbeats",
        "scale_heartbeats_p50",
        "scale_heartbeats_p99",
        "scale_heartbeats_most",
        "scale_admission",
    ),
}
"""What is measured together."""

SCALE_GOALS = (
    Goal("scale_node_memory", at(0), 60),
    Goal("scale_circuits_memory", at(CIRCUITS), 120),
    Goal("scale_circuits_stall", at(CIRCUITS), 100),
    Goal("scale_streams_failed", at(STREAMS), 0),
    Goal("scale_streams_spread", at(STREAMS), 5),
    Goal("scale_listing_ready", at(MOST_NODES), 1000),
    *(Goal("scale_listing_growth", at(size), 6) for size in SIZES if size // GROWTH in SIZES),
    Goal("scale_path", at(MOST_NODES), 1),
    *(Goal("scale_heartbeats", at(size), 1500) for size in SIZES),
    Goal("scale_heartbeats_p99", at(MOST_NODES), 50),
)
