"""The figures as a table for a terminal: a line for each key, its goal, and every system beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.goals import LINES, goal_of, reached

__all__ = ["number", "seconds_lines", "table"]

OURS = "torpydo"
TITLES = ("line", "unit", f"{OURS} (min, median, max)", "goal", "", "beside it: median")


def number(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _row(key: str, conditions: str, figures: Mapping[str, Figure], judged: bool) -> tuple[str, ...]:
    line = LINES[key]
    ours = figures.get(OURS)
    goal = goal_of(key, conditions)
    values = verdict = ""
    if ours is not None:
        values = f"{number(ours.minimum):>6} {number(ours.median):>6} {number(ours.maximum):>6}"
        verdict = "" if not judged else {True: "reached", False: "MISSED", None: ""}[reached(ours)]
    wanted = "" if goal is None else f"{line.better.value} {goal.value:g}"
    others = ", ".join(f"{name} {number(figure.median)}" for name, figure in figures.items() if name != OURS)
    return line.what, line.unit, values, wanted, verdict, others


def table(figures: Sequence[Figure], *, judged: bool = True) -> list[str]:
    """The lines of the table; conditions one after the other.

    :param judged: whether it says which goals were reached
    """
    lines: list[str] = []
    for conditions in dict.fromkeys(figure.conditions for figure in figures):
        here = [figure for figure in figures if figure.conditions == conditions]
        rows: list[tuple[str, ...]] = [TITLES]
        for key in LINES:
            by_system = {figure.system: figure for figure in here if figure.key == key}
            if by_system:
                rows.append(_row(key, conditions, by_system, judged))
        widths = [max(len(row[column]) for row in rows) for column in range(len(TITLES))]
        lines.append(f"{conditions}:")
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            lines.append(("  " + "  ".join(cells)).rstrip())
    return lines


def seconds_lines(seconds: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """How transfers got up to their speed: a line for each system and key, MB/s of each second of the last run."""
    return [
        f"  {system}, {LINES[key].what}, MB/s in each second: {' '.join(map(number, rates))}"
        for system, by_key in seconds.items()
        for key, rates in by_key.items()
        if rates
    ]
