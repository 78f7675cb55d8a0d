"""The figures as a picture: for each line of the table a bar for each system, its range, and the goal; for a line about
the DHT or peers how it grows with the network.

matplotlib is an extra; nothing else of the benchmark needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from typing import Any

from torpydo.cli.bench.dhtlines import DHT_KEYS
from torpydo.cli.bench.dhtreport import fits
from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.goals import ALL_LINES, goal_of
from torpydo.cli.bench.peerlines import PEER_KEYS
from torpydo.cli.bench.scalelines import SCALE_KEYS
from torpydo.cli.bench.simulated import case_of, size_of
from torpydo.cli.bench.simulatedreport import mean
from torpydo.errors import ConfigurationError, TorpydoError

__all__ = ["FORMATS", "check_picture", "draw"]

FORMATS = (".png", ".svg", ".pdf")
COLUMNS = 3
COLOURS = {"torpydo": "#3465a4", "tor": "#7d4698", "tor tuned": "#b48ac2", "pipeline": "#8a8a8a", "direct": "#c8c8c8"}
GOAL_COLOUR = "#cc0000"
# How the table continues a line above.
CONTINUED = "... "
# From this ratio on, the smallest bar would be a line on the ground.
LOGARITHMIC = 30


def check_picture(path: str) -> None:
    """Find out before anything is measured whether a picture can be drawn.

    :raises ConfigurationError: if matplotlib is missing, or the name does not say which kind of picture
    """
    if not path.endswith(FORMATS):
        raise ConfigurationError(f"--picture={path}: the name must end in {', '.join(FORMATS)}")
    if find_spec("matplotlib") is None:
        raise ConfigurationError(
            "--picture needs matplotlib, which is not installed; install it with: pip install 'torpydo[bench]'"
        )


def _draw_line(axes: Any, key: str, conditions: str, figures: Sequence[Figure]) -> None:
    line = ALL_LINES[key]
    # Sizes stand side by side, and so do systems under the same conditions.
    names = [figure.conditions if key in SCALE_KEYS else figure.system for figure in figures]
    heights = [figure.median for figure in figures]
    below = [figure.median - figure.minimum for figure in figures]
    above = [figure.maximum - figure.median for figure in figures]
    colours = [COLOURS.get(figure.system, "#555555") for figure in figures]
    axes.bar(names, heights, yerr=[below, above], capsize=4, color=colours)
    goal = goal_of(key, conditions or figures[-1].conditions)
    if goal is not None:
        axes.axhline(goal.value, color=GOAL_COLOUR, linestyle="--", label=f"goal {line.better.value} {goal.value:.4g}")
        axes.legend(fontsize="x-small")
    if min(heights) > 0 and max(heights) / min(heights) > LOGARITHMIC:
        axes.set_yscale("log")
    axes.set_title(f"{key}: {line.what.removeprefix(CONTINUED)}", fontsize="small")
    axes.set_ylabel(line.unit)
    axes.tick_params(labelsize="x-small")


def _draw_growth(axes: Any, key: str, figures: Sequence[Figure]) -> None:
    line = ALL_LINES[key]
    cases: dict[str, dict[int, float]] = {}
    for figure in figures:
        cases.setdefault(case_of(figure.conditions), {})[size_of(figure.conditions)] = mean(figure)
    grows = fits(figures, key)
    for case, by_size in cases.items():
        (drawn,) = axes.plot(list(by_size), list(by_size.values()), "o", markersize=4, label=case)
        # What is found does not grow; what it takes is to grow by as much whenever the network doubles.
        if case in grows and key in DHT_KEYS and line.unit != "%":
            ends = [min(by_size), max(by_size)]
            axes.plot(ends, [grows[case].at(size) for size in ends], "--", linewidth=1, color=drawn.get_color())
    sizes = sorted({size for by_size in cases.values() for size in by_size})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_ylim(bottom=0)
    axes.set_title(f"{key}: {line.what}, mean", fontsize="small")
    axes.set_xlabel("nodes" if key in DHT_KEYS else "peers", fontsize="x-small")
    axes.set_ylabel(line.unit)
    axes.legend(fontsize="x-small")
    axes.tick_params(labelsize="x-small")


def draw(figures: Sequence[Figure], path: str, title: str) -> bytes:
    """Draw *figures*.

    :param path: the name of the file in which they will be; it says the kind of picture
    :raises TorpydoError: if there are none
    """
    if not figures:
        raise TorpydoError("nothing was measured that could be drawn")
    lines: dict[tuple[str, str], list[Figure]] = {}
    order = list(ALL_LINES)
    for figure in sorted(figures, key=lambda one: order.index(one.key)):
        # Sizes stand in one picture.
        conditions = "" if figure.key in (*SCALE_KEYS, *DHT_KEYS, *PEER_KEYS) else figure.conditions
        lines.setdefault((conditions, figure.key), []).append(figure)
    columns = min(COLUMNS, len(lines))
    rows = -(-len(lines) // columns)
    # A figure of its own, without pyplot: that would keep state and look for a screen.
    canvas = import_module("matplotlib.figure").Figure(figsize=(4.5 * columns, 3.2 * rows), layout="constrained")
    grid = canvas.subplots(rows, columns, squeeze=False)
    for place, ((conditions, key), ours) in enumerate(lines.items()):
        axes = grid[place // columns][place % columns]
        if key in DHT_KEYS + PEER_KEYS:
            _draw_growth(axes, key, ours)
        else:
            _draw_line(axes, key, conditions, ours)
    for place in range(len(lines), rows * columns):
        grid[place // columns][place % columns].set_axis_off()
    canvas.suptitle(title)
    out = BytesIO()
    canvas.savefig(out, format=path.rpartition(".")[2])
    return out.getvalue()
