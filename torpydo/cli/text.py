"""What people read: sizes, times, rates and paths as text."""

from __future__ import annotations

from collections.abc import Sequence

from torpydo.cli.constants import MEGABYTE
from torpydo.directory import Descriptor

__all__ = ["milliseconds", "path_lines", "path_summary", "rate", "size"]


def size(count: int) -> str:
    """*count* bytes, in a unit that leaves a short number."""
    if count < 10_000:
        return f"{count} bytes"
    if count < MEGABYTE:
        return f"{count / 1000:.0f} kB"
    return f"{count / MEGABYTE:.1f} MB"


def rate(count: int, seconds: float) -> str:
    """*count* bytes in *seconds*, as MB/s (a million bytes a second)."""
    return f"{count / MEGABYTE / max(seconds, 1e-6):.1f} MB/s"


def milliseconds(seconds: float) -> str:
    """A short time."""
    return f"{seconds * 1000:.1f} ms"


def path_summary(path: Sequence[Descriptor]) -> str:
    """The path on one line, the guard first."""
    return " > ".join(f"{node.nickname} ({node.node_id.short})".lstrip() for node in path)


def path_lines(path: Sequence[Descriptor], hop_times: Sequence[float]) -> list[str]:
    """The path as a table: one hop a line, with the time in which each hop answered.

    :param hop_times: seconds, one for each hop
    """
    places = ["guard", *["middle"] * (len(path) - 2), "exit"] if len(path) > 1 else ["exit"]
    width = max(len(node.name) for node in path)
    lines = []
    for number, (place, node, taken) in enumerate(zip(places, path, hop_times, strict=True), 1):
        names = f"{node.name:{width}}  {node.node_id.short}  {str(node.address):21}"
        lines.append(f"hop {number}  {place:6}  {names}  {milliseconds(taken):>9}")
    return lines
