"""The lines of the benchmark and what torpydo must reach on each. Nothing here measures, and no test asks for a time.

A line is named by its key; the same key under other conditions has another goal.
"""

from __future__ import annotations

from torpydo.cli.bench.attacklines import ATTACK_GOALS, ATTACK_LINES
from torpydo.cli.bench.dhtlines import DHT_GOALS, DHT_LINES
from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.lines import Better, Goal, Line
from torpydo.cli.bench.onionlines import ONION_GOALS, ONION_LINES
from torpydo.cli.bench.peerlines import PEER_GOALS, PEER_LINES
from torpydo.cli.bench.scalelines import SCALE_GOALS, SCALE_LINES

__all__ = ["ALL_GOALS", "ALL_LINES", "GOALS", "KEYS", "LINES", "goal_of", "reached"]


LOOPBACK = "loopback"
FAR = "25 ms"
SLOW = "25 ms, 100 Mbit/s"

LINES = {
    line.key: line
    for line in (
        Line("download", "download, 1 stream", "MB/s", Better.MORE),
        Line("upload", "upload, 1 stream", "MB/s", Better.MORE),
        Line("download_3s", "download, after the first three seconds", "MB/s", Better.MORE),
        Line("upload_3s", "upload, after the first three seconds", "MB/s", Better.MORE),
        Line("streams16", "16 streams on 16 circuits, together", "MB/s", Better.MORE),
        Line("rtt", "round trip of 64 bytes", "ms", Better.LESS),
        Line("rtt_loaded", "... beside a download on another circuit", "ms", Better.LESS),
        Line("queue", "... how much longer than without it", "ms", Better.LESS),
        Line("open_stream", "open a stream on a built circuit", "ms", Better.LESS),
        Line("build", "build a circuit of 3 hops", "ms", Better.LESS),
        Line("builds_per_second", "circuits of 3 hops built a second", "1/s", Better.MORE),
        Line("fair20_echo", "20 downloads and 20 echoes: p95 of the echoes", "ms", Better.LESS),
        Line("fair20_share", "... least share of a download (1 = equal)", "", Better.MORE),
    )
}
"""Every line of a network's speed by its key, in the order of the table."""

ALL_LINES = LINES | SCALE_LINES | ATTACK_LINES | ONION_LINES | DHT_LINES | PEER_LINES
"""These and those about size, attacks, onion services, the DHT and peers, which are measured on our network alone."""

KEYS = tuple(LINES)

GOALS = (
    Goal("download", LOOPBACK, 100),
    Goal("upload", LOOPBACK, 80),
    Goal("streams16", LOOPBACK, 100),
    Goal("rtt", LOOPBACK, 0.8),
    Goal("rtt_loaded", LOOPBACK, 3),
    Goal("open_stream", LOOPBACK, 1),
    Goal("build", LOOPBACK, 3),
    Goal("builds_per_second", LOOPBACK, 750),
    Goal("fair20_echo", LOOPBACK, 20),
    # A third of an even share.
    Goal("fair20_share", LOOPBACK, 1 / 3),
    Goal("download_3s", FAR, 30),
    Goal("upload_3s", FAR, 25),
    Goal("streams16", FAR, 60),
    Goal("rtt_loaded", FAR, 180),
    Goal("build", FAR, 310),
    Goal("download", SLOW, 11),
    # A round trip through three lines of 25 ms.
    Goal("queue", SLOW, 150),
)

ALL_GOALS = GOALS + SCALE_GOALS + ATTACK_GOALS + ONION_GOALS + DHT_GOALS + PEER_GOALS

_BY_LINE = {(goal.key, goal.conditions): goal for goal in ALL_GOALS}


def goal_of(key: str, conditions: str) -> Goal | None:
    """The goal for a line, if there is one under these conditions."""
    return _BY_LINE.get((key, conditions))


def reached(figure: Figure) -> bool | None:
    """Whether the median of *figure* reaches its goal; ``None`` when there is none."""
    goal = goal_of(figure.key, figure.conditions)
    if goal is None:
        return None
    if ALL_LINES[figure.key].better is Better.MORE:
        return figure.median >= goal.value
    return figure.median <= goal.value
