"""The figures as a table for a terminal: a line for each key, its goal, and every system beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torpydo.cli.bench.attacklines import ATTACK_KEYS, ATTACKED
from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.goals import ALL_LINES, LINES, goal_of, reached
from torpydo.cli.bench.onionlines import ONION_KEYS, ONION_TITLE
from torpydo.cli.bench.scalelines import SCALE_KEYS

__all__ = ["OURS", "aligned", "attack_table", "number", "onion_table", "scale_table", "seconds_lines", "table"]

OURS = "torpydo"
TITLES = ("line", "unit", f"{OURS} (min, median, max)", "goal", "", "beside it: median")


def number(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _row(key: str, conditions: str, figures: Mapping[str, Figure], judged: bool) -> tuple[str, ...]:
    line = ALL_LINES[key]
    ours = figures.get(OURS)
    goal = goal_of(key, conditions)
    values = verdict = ""
    if ours is not None:
        values = f"{number(ours.minimum):>6} {number(ours.median):>6} {number(ours.maximum):>6}"
        verdict = "" if not judged else {True: "reached", False: "MISSED", None: ""}[reached(ours)]
    wanted = "" if goal is None else f"{line.better.value} {goal.value:.4g}"
    others = ", ".join(f"{name} {number(figure.median)}" for name, figure in figures.items() if name != OURS)
    return line.what, line.unit, values, wanted, verdict, others


def aligned(title: str, rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table of *rows*; the first has the titles."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [f"{title}:", *(line.rstrip() for line in lines)]


def table(figures: Sequence[Figure], *, judged: bool = True) -> list[str]:
    """The lines of the table; conditions one after the other, and at the end what is about size, about attacks and
    about onion services.

    :param judged: whether it says which goals were reached
    """
    lines: list[str] = []
    networks = [figure for figure in figures if figure.key in LINES]
    for conditions in dict.fromkeys(figure.conditions for figure in networks):
        rows: list[tuple[str, ...]] = [TITLES]
        for key in LINES:
            by_system = {
                figure.system: figure for figure in networks if (figure.key, figure.conditions) == (key, conditions)
            }
            if by_system:
                rows.append(_row(key, conditions, by_system, judged))
        lines += aligned(conditions, rows)
    lines += scale_table(figures, judged=judged)
    return lines + attack_table(figures, judged=judged) + onion_table(figures, judged=judged)


def scale_table(figures: Sequence[Figure], *, judged: bool = True) -> list[str]:
    """What is about size: a line for each key and size; nothing if there is none."""
    sized = sorted((one for one in figures if one.key in SCALE_KEYS), key=lambda one: SCALE_KEYS.index(one.key))
    rows = []
    for figure in sized:
        what, *others = _row(figure.key, figure.conditions, {figure.system: figure}, judged)
        rows.append((what, figure.conditions, *others))
    return aligned("scale", [(TITLES[0], "conditions", *TITLES[1:5], ""), *rows]) if rows else []


def attack_table(figures: Sequence[Figure], *, judged: bool = True) -> list[str]:
    """What is left beside attacks: a line for each key; nothing if there is none."""
    return _table_of(ATTACKED, ATTACK_KEYS, figures, judged)


def onion_table(figures: Sequence[Figure], *, judged: bool = True) -> list[str]:
    """What it takes to reach an onion service: a line for each key; nothing if there is none."""
    return _table_of(ONION_TITLE, ONION_KEYS, figures, judged)


def _table_of(title: str, keys: Sequence[str], figures: Sequence[Figure], judged: bool) -> list[str]:
    ours = sorted((one for one in figures if one.key in keys), key=lambda one: keys.index(one.key))
    rows = [_row(figure.key, figure.conditions, {figure.system: figure}, judged) for figure in ours]
    return aligned(title, [TITLES[:5] + ("",), *rows]) if rows else []


def seconds_lines(seconds: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """How transfers got up to their speed: a line for each system and key, MB/s of each second of the last run."""
    return [
        f"  {system}, {LINES[key].what}, MB/s in each second: {' '.join(map(number, rates))}"
        for system, by_key in seconds.items()
        for key, rates in by_key.items()
        if rates
    ]
