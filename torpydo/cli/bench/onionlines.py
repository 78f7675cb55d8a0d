"""The lines of the table about onion services: how long it takes to reach one, and what a joined circuit carries.

Their goals, beside ``goals``. Everything is on loopback.
"""

from __future__ import annotations

from torpydo.cli.bench.lines import Better, Goal, Line
from torpydo.cli.bench.systems import Conditions

__all__ = ["NEAR", "ONION_GOALS", "ONION_KEYS", "ONION_LINES", "ONION_LOADS", "ONION_TITLE"]

NEAR = str(Conditions())
"""The conditions of these figures."""
ONION_TITLE = "onion services"
"""Of their table."""

ONION_LINES = {
    line.key: line
    for line in (
        Line("onion_first", "first connection to a name", "ms", Better.LESS),
        Line("onion_next", "... of another user of the client", "ms", Better.LESS),
        Line("onion_stream", "open a stream on a joined circuit", "ms", Better.LESS),
        Line("onion_rtt", "round trip of 64 bytes", "ms", Better.LESS),
        Line("onion_download", "download, 1 stream", "MB/s", Better.MORE),
        Line("onion_upload", "upload, 1 stream", "MB/s", Better.MORE),
        Line("onion_publish", "start of a service to a first connection", "s", Better.LESS),
    )
}
"""Every line by its key, in the order of the table."""

ONION_KEYS = tuple(ONION_LINES)

ONION_LOADS = {
    "new_user": "onion_next",
    "open_stream": "onion_stream",
    "rtt": "onion_rtt",
    "download": "onion_download",
    "upload": "onion_upload",
}
"""Loads through the client's proxy, and the keys that they give."""

ONION_GOALS = (
    Goal("onion_first", NEAR, 150),
    Goal("onion_stream", NEAR, 5),
    Goal("onion_download", NEAR, 40),
    Goal("onion_upload", NEAR, 40),
    Goal("onion_publish", NEAR, 30),
)
