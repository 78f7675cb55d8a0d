"""How far a transfer is: a bar on a terminal when tqdm is installed, otherwise nothing."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, TextIO

__all__ = ["Progress", "progress_on"]


class Progress(Protocol):
    """What the transfer tells."""

    def update(self, count: int, /) -> object:
        """*count* more bytes came."""

    def close(self) -> None:
        """It is over."""


class NoProgress:
    """Shows nothing."""

    def update(self, count: int, /) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""


def progress_on(out: TextIO, total: int | None) -> Progress:
    """A bar on *out*, or nothing when *out* is no terminal or tqdm is missing.

    :param total: how many bytes will come, if that is known
    """
    if not out.isatty() or find_spec("tqdm") is None:
        return NoProgress()
    bar: Progress = import_module("tqdm").tqdm(
        total=total, file=out, unit="B", unit_scale=True, leave=False, dynamic_ncols=True
    )
    return bar
