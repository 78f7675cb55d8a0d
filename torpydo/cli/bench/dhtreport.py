"""The figures about the DHT as a table for a terminal, and how they grow with the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2, sqrt
from statistics import linear_regression

import attrs

from torpydo.cli.bench.dhtlines import DHT_KEYS
from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.marks import percentile
from torpydo.cli.bench.report import number
from torpydo.cli.bench.simulated import case_of, size_of
from torpydo.cli.bench.simulatedreport import mean, simulated_table

__all__ = ["Fit", "dht_table", "fits"]

TITLES = ("n", "nodes", "found %", "goal", "", "hops: mean", "p95", "questions", "virtual s: median", "p95")


@attrs.frozen
class Fit:
    """The line ``start + slope * log2(n)`` that is closest to the figures.

    :ivar residual: how far they are from it, as the root of the mean square
    """

    start: float
    slope: float
    residual: float

    @classmethod
    def of(cls, points: Mapping[int, float]) -> Fit:
        """The fit of at least two sizes with their figures."""
        slope, start = linear_regression([log2(size) for size in points], list(points.values()))
        squares = [(start + slope * log2(size) - value) ** 2 for size, value in points.items()]
        return cls(start, slope, sqrt(sum(squares) / len(squares)))

    def at(self, size: int) -> float:
        """What it says of a network of that size."""
        return self.start + self.slope * log2(size)

    def __str__(self) -> str:
        return f"{self.start:.2f} + {self.slope:.2f} * log2(n), residual {self.residual:.2f}"


def fits(figures: Sequence[Figure], key: str) -> dict[str, Fit]:
    """How the means of a line grow, by case; nothing for a case that was measured at one size only."""
    points: dict[str, dict[int, float]] = {}
    for figure in figures:
        if figure.key == key:
            points.setdefault(case_of(figure.conditions), {})[size_of(figure.conditions)] = mean(figure)
    return {case: Fit.of(by_size) for case, by_size in points.items() if len(by_size) > 1}


def _rest(figures: Sequence[Figure | None]) -> tuple[str, ...]:
    hops, questions, taken = figures
    return (
        *(("", "") if hops is None else (number(mean(hops)), number(percentile(hops.samples, 0.95)))),
        "" if questions is None else number(mean(questions)),
        *(("", "") if taken is None else (number(taken.median), number(percentile(taken.samples, 0.95)))),
    )


def dht_table(figures: Sequence[Figure], *, judged: bool = True) -> list[str]:
    """A line for each size and case, and how hops and questions grow; nothing if there is none."""
    lines = simulated_table("dht", TITLES, DHT_KEYS, _rest, figures, judged=judged)
    for key, what in (("dht_hops", "hops"), ("dht_questions", "questions")):
        lines += [f"  {what} = {fit} ({case})" for case, fit in fits(figures, key).items()]
    return lines
