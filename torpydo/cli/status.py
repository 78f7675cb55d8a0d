"""Show what a running client, node or pool is doing.

It asks over the Unix socket in the state directory; only the user who runs the service can do that.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torpydo.apps.status import read_status

__all__ = ["arguments", "outline", "run"]

DEEPEST = 8
"""Levels of a status that are shown: no service has so many."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``torpydo status``."""
    parser.add_argument("--state-dir", required=True, metavar="DIR", help="the --state-dir of what runs")
    parser.add_argument("--json", action="store_true", help="print the status as JSON")


def _cell(value: Any, deep: int = DEEPEST) -> str:
    if not deep:
        return "..."
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Mapping):
        # Of counts, those that there are: a service has thirty causes for a refusal.
        there = {key: item for key, item in value.items() if item != 0 or isinstance(item, bool)}
        return ", ".join(f"{key} {_cell(item, deep - 1)}" for key, item in there.items()) or "-"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_cell(item, deep - 1) for item in value) or "-"
    return str(value)


def _printable(line: str) -> str:
    """Names in a status may be a stranger's choice: no terminal obeys them."""
    return "".join(char if char.isprintable() else "?" for char in line)


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    names = list(rows[0])
    lines = [[name.replace("_", " ") for name in names], *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(names))]
    for line in lines:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def outline(status: Mapping[str, Any]) -> str:
    """A status for people: a line for each fact, a table for each list of things.

    It knows no field by name, so a client may say more in a later version.
    """
    lines: list[str] = []
    for name, value in status.items():
        title = name.replace("_", " ")
        if isinstance(value, Sequence) and value and all(isinstance(item, Mapping) and item for item in value):
            lines += [f"{title}:", *_table(value)]
        else:
            lines.append(f"{title}: {_cell(value)}")
    return "\n".join(map(_printable, lines))


async def run(reactor: Any, options: argparse.Namespace) -> int:
    """Print the status."""
    status = await read_status(reactor, options.state_dir)
    print(json.dumps(status, indent=2) if options.json else outline(status))
    return 0
