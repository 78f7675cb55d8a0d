"""Puts the nodes of a system at a distance: starts a delay line before each (``delayline`` is the process)."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from torpydo.cli.bench.systems import Conditions
from torpydo.cli.processes import ChildProcesses, free_port

__all__ = ["Distance"]


@attrs.define(eq=False)
class Distance:
    """The :class:`~torpydo.cli.bench.systems.Lines` of one benchmark.

    :param processes: the lines are added to them
    """

    processes: ChildProcesses
    randbelow: Callable[[int], int]
    conditions: Conditions
    _count: int = 0

    def before(self, port: int) -> int:
        """Start a line before *port*."""
        if not self.conditions.has_line:
            return port
        self._count += 1
        line = free_port(self.randbelow)
        rate = self.conditions.megabits
        self.processes.start(
            f"delay line {self._count}", "-m", "torpydo.cli.bench.delayline", str(line), str(port),
            f"--delay={self.conditions.delay * 1000}", *([] if rate is None else [f"--rate={rate}"]),
        )  # fmt: skip
        return line

    def check(self) -> None:
        """Raise if one of the lines has ended by itself.

        :raises TorpydoError: it names the line and shows its last words
        """
        self.processes.check()
