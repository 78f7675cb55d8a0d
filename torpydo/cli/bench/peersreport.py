"""The figures about peers as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.peerlines import PEER_KEYS
from torpydo.cli.bench.report import number
from torpydo.cli.bench.simulatedreport import mean, simulated_table

__all__ = ["peers_table"]

TITLES = (
    "n", "peers", "know 9/10 %", "goal", "", "known %: mean", "min", "minutes", "kB/h", "false", "bad/h", "refused/h",
    "work",
)  # fmt: skip


def _rest(figures: Sequence[Figure | None]) -> tuple[str, ...]:
    known, *others = figures
    return (
        *(("", "") if known is None else (number(mean(known)), number(known.minimum))),
        *("" if one is None else number(mean(one)) for one in others),
    )


def peers_table(figures: Sequence[Figure], *, judged: bool = True) -> list[str]:
    """A line for each size and case; nothing if there is none."""
    return simulated_table("peers", TITLES, PEER_KEYS, _rest, figures, judged=judged)
