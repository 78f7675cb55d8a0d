"""The figures of a simulation as a table: a line for each size and case; the first of its keys has goals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.goals import goal_of, reached
from torpydo.cli.bench.report import aligned, number
from torpydo.cli.bench.simulated import case_of, size_of

__all__ = ["mean", "simulated_table"]

Rest = Callable[[Sequence[Figure | None]], tuple[str, ...]]
"""Gives the columns after the goal, from the figures of the other keys."""


def mean(figure: Figure) -> float:
    """Of all samples."""
    return sum(figure.samples) / len(figure.samples)


def simulated_table(
    name: str, titles: Sequence[str], keys: Sequence[str], rest: Rest, figures: Sequence[Figure], *, judged: bool
) -> list[str]:
    """The table; nothing if there is none of these figures.

    :param titles: of all columns, those in the middle being the goal and whether it was reached
    :param judged: whether that is to be said
    """
    by_conditions: dict[str, dict[str, Figure]] = {}
    for figure in figures:
        if figure.key in keys:
            by_conditions.setdefault(figure.conditions, {})[figure.key] = figure
    if not by_conditions:
        return []
    rows = [_row(conditions, keys, rest, found, judged) for conditions, found in by_conditions.items()]
    return aligned(name, [tuple(titles), *rows])


def _row(
    conditions: str, keys: Sequence[str], rest: Rest, figures: Mapping[str, Figure], judged: bool
) -> tuple[str, ...]:
    first, *others = (figures.get(key) for key in keys)
    goal = goal_of(keys[0], conditions)
    verdict = "" if not judged or first is None else {True: "reached", False: "MISSED", None: ""}[reached(first)]
    return (
        str(size_of(conditions)),
        case_of(conditions),
        "" if first is None else number(first.median),
        "" if goal is None else f">= {goal.value:g}",
        verdict,
        *rest(others),
    )
