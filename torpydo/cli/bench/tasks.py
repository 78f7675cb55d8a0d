"""Processes that measure and then end: started, awaited, their JSON read from the last line they printed."""

from __future__ import annotations

import json
from typing import Any

import attrs
from twisted.python.filepath import FilePath

from torpydo.cli.processes import ChildProcesses
from torpydo.errors import TorpydoError

__all__ = ["Tasks"]


@attrs.define(eq=False)
class Tasks:
    """Runs one task after another.

    :param directory: for what they print
    """

    reactor: Any
    directory: FilePath[str]
    _count: int = 0

    async def run(self, what: str, module: str, *arguments: str) -> Any:
        """Run ``python -m MODULE ARGUMENTS``; cancelling ends it.

        :returns: the JSON that it printed last
        :raises TorpydoError: with its last line, if it failed
        """
        self._count += 1
        # A collection for each: one that has ended is a fault only among those that are to stay.
        processes = ChildProcesses(self.reactor, self.directory)
        child = processes.start(f"task {self._count}", "-m", module, *arguments)
        try:
            await child.when_ended()
        finally:
            await processes.end()
        if child.ended_with != "exit status 0":
            raise TorpydoError(f"measuring {what} failed: {child.last_line()}")
        try:
            return json.loads(child.last_line())
        except ValueError:
            raise TorpydoError(f"measuring {what} printed no figures: {child.last_line()}") from None
