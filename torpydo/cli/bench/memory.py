"""The memory of a process and of all that it has started, as Linux counts it in ``/proc``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from torpydo.cli.constants import MEGABYTE

__all__ = ["Memory", "family", "memory_of", "read_memory"]

KIBIBYTE = 1024


@attrs.frozen
class Memory:
    """Megabytes. What was moved to swap counts: a quiet process would look smaller than it is."""

    resident: float
    """What the process has in memory; pages that it shares count as a whole."""
    own: float
    """What it has written and shares with nobody."""


def read_memory(rollup: str) -> Memory:
    """The figures of one process.

    :param rollup: the text of ``/proc/PID/smaps_rollup``
    """
    sizes: dict[str, int] = {}
    for line in rollup.splitlines():
        name, colon, rest = line.partition(":")
        words = rest.split()
        if colon and words[1:] == ["kB"]:
            sizes[name] = int(words[0])
    swapped = sizes.get("Swap", 0)
    scale = KIBIBYTE / MEGABYTE
    return Memory((sizes["Rss"] + swapped) * scale, (sizes["Private_Dirty"] + swapped) * scale)


def family(parents: Mapping[int, int], pid: int) -> set[int]:
    """A process and all that it has started, and what these have started.

    :param parents: of each process id that of its parent
    """
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _parents() -> dict[int, int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text(errors="replace")
        except OSError:
            # It has ended in the meantime.
            continue
        # The name, in parentheses, may contain anything.
        parents[int(path.parent.name)] = int(text.rpartition(")")[2].split()[1])
    return parents


def memory_of(pid: int) -> Memory:
    """The figures of a process and all that it has started, added up."""
    all_of_them = [
        read_memory(Path(f"/proc/{member}/smaps_rollup").read_text()) for member in family(_parents(), pid)
    ]
    return Memory(sum(one.resident for one in all_of_them), sum(one.own for one in all_of_them))
