"""The lines of the table about attacks: what an honest client still has beside them. Their goals, beside ``goals``.

A figure is a share of what the same client had on the same network a moment before, so the machine's speed cancels
out. The attacked node is the client's guard. The attackers run on the same processors as everything else.
"""

from __future__ import annotations

from torpydo.cli.bench.lines import Better, Goal, Line

__all__ = ["ATTACKED", "ATTACK_GOALS", "ATTACK_GROUPS", "ATTACK_KEYS", "ATTACK_LINES", "CREATES", "SLOW", "SNIPERS"]

ATTACKED = "attacked"
"""The conditions of these figures."""
SLOW = 1000
"""Connections that send a byte a second (SECURITY L5)."""
CREATES = 5000
"""CREATEs a second (D3)."""
SNIPERS = 200
"""Circuits whose client stops reading (F6)."""
FILES = 128
"""File descriptors that a node may have (D4)."""
HOLDERS = 500
"""Connections that want them."""
MEMORY = 32 * 1024 * 1024
"""Bytes that may wait in a node while it meets snipers; with the default they would need a larger machine."""


def _beside(kind: str, what: str, *more: Line) -> tuple[Line, ...]:
    rate = Line(f"attack_{kind}_rate", f"download beside {what}", "x", Better.MORE)
    return (rate, Line(f"attack_{kind}_trip", "... p95 of a round trip", "x", Better.LESS), *more)


_LINES = {
    "slow": _beside(
        "slow",
        f"{SLOW} slow connections",
        Line("attack_slow_connect", "... p95 of another link handshake", "ms", Better.LESS),
    ),
    "creates": _beside(
        "creates",
        f"{CREATES} CREATEs a second",
        Line("attack_creates_built", "... another client's circuits built", "x", Better.MORE),
    ),
    "snipers": _beside(
        "snipers",
        f"{SNIPERS} circuits nobody reads",
        Line("attack_snipers_memory", "... memory of the node", "MB", Better.LESS),
    ),
    "files": _beside(
        "files",
        f"{HOLDERS} connections, {FILES} files",
        Line("attack_files_again", "... until it takes links again", "s", Better.LESS),
    ),
}

ATTACK_GROUPS = {kind: tuple(line.key for line in lines) for kind, lines in _LINES.items()}
"""What is measured together."""

ATTACK_LINES = {line.key: line for lines in _LINES.values() for line in lines}
"""Every line by its key, in the order of the table."""

ATTACK_KEYS = tuple(ATTACK_LINES)

ATTACK_GOALS = (
    *(Goal(f"attack_{kind}_rate", ATTACKED, 0.5) for kind in ATTACK_GROUPS),
    *(Goal(f"attack_{kind}_trip", ATTACKED, 2) for kind in ATTACK_GROUPS),
    Goal("attack_slow_connect", ATTACKED, 1000),
    Goal("attack_creates_built", ATTACKED, 0.5),
    # One and a half times what may wait, and 60 MiB (F6).
    Goal("attack_snipers_memory", ATTACKED, (1.5 * MEMORY + (60 << 20)) / 1e6),
    Goal("attack_files_again", ATTACKED, 2),
)
