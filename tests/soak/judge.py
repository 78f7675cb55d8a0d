"""What a run must be like, and what in this one was not. No input or output.

The figures are those of SECURITY section 3 and row 34 there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import attrs

from tests.soak.outcomes import Ending, Tally
from tests.soak.samples import MEBIBYTE, Reading, Series

__all__ = ["FaultResult", "Restarts", "Run", "complaints", "leftovers"]

LEAST_GOOD = 0.995
"""Of all transfers: succeeded, or failed with a correct error."""
LEAST_OK = 0.8
"""Of all transfers: succeeded. A network in which everything fails correctly is not one that works ..."""
SHORT = 60.0
"""... but in fewer seconds than these there are restarts all the time, and one success is enough."""
MEMORY_SLOPE = 1.0
"""MiB an hour."""
JUDGED = 20 * 60.0
"""Seconds of the steady part from which on slopes are judged."""
GROSS_GROWTH = 40.0
"""MiB between the first and the last third of a run that is too short for slopes."""
MEMORY_BACK = 20 * MEBIBYTE
"""Bytes that a process may keep after a fault ..."""
FILES_BACK = 0.05
"""... and the part of its open files."""
FILES_SLACK = 3
"""Open files that come and go: a client has a guard more or less, a pool somebody who is asking."""

# Words of a line that no process may say, whatever is done to it. A line of tor's kind of error is one that the process
# expects; these are not.
_COMPLAINT = re.compile(r"Traceback \(most|Unhandled|#critical\]|#failure\]|^WRONG:|never retrieved|MemoryError")


def complaints(name: str, lines: Iterable[str]) -> list[str]:
    """The lines of a log that show an error nobody expected."""
    return [f"{name}: {line.strip()[:200]}" for line in lines if _COMPLAINT.search(line)]


def leftovers(name: str, before: Reading, after: Reading, links: int) -> list[str]:
    """What a process has kept of a fault that is over.

    :param links: sockets to other nodes that may have come since, and stay
    """
    found = []
    most = before.files * (1 + FILES_BACK) + links
    if after.files > most:
        found.append(f"{name} has {after.files} open files, {before.files} before")
    if after.resident > before.resident + MEMORY_BACK:
        more = (after.resident - before.resident) / MEBIBYTE
        found.append(f"{name} has {more:.0f} MiB more than before")
    return found


@attrs.frozen
class FaultResult:
    """What became of one fault.

    :ivar figures: what was measured, in few words
    :ivar breaches: what did not hold
    :ivar skipped: why it was not run, if it was not
    """

    number: str
    name: str
    figures: str = ""
    breaches: tuple[str, ...] = ()
    skipped: str | None = None


@attrs.frozen
class Restarts:
    """Of nodes, one after the other."""

    done: int
    wanted: int


@attrs.frozen
class Run:
    """All that is known at the end.

    :ivar seconds: how long there was traffic
    :ivar series: of every process, each time that it was started
    :ivar broken: anything else that went wrong, such as a process that ended by itself
    """

    seconds: float
    tally: Tally
    faults: Sequence[FaultResult]
    restarts: Restarts
    series: Sequence[Series]
    broken: Sequence[str] = ()

    def breaches(self) -> list[str]:
        """Everything that was not as it must be; nothing means that the run has passed."""
        found = [*self.broken, *self._of_transfers()]
        if self.restarts.done < self.restarts.wanted:
            found.append(f"only {self.restarts.done} of {self.restarts.wanted} restarts were done")
        for fault in self.faults:
            found += [f"fault {fault.number} ({fault.name}): {breach}" for breach in fault.breaches]
        for series in self.series:
            found += self._of_memory(series)
            found += self._of_files(series)
        return found

    def _of_transfers(self) -> list[str]:
        tally = self.tally
        if not tally.count:
            return ["there was not one transfer"]
        found = []
        corrupt = tally.endings[Ending.CORRUPT]
        if corrupt:
            found.append(f"{corrupt} transfers brought wrong bytes, or an end too soon")
        good = (tally.endings[Ending.OK] + tally.endings[Ending.ERROR]) / tally.count
        if good < LEAST_GOOD:
            found.append(f"only {good:.2%} of {tally.count} transfers succeeded or failed with a correct error")
        ok = tally.endings[Ending.OK] / tally.count
        if ok < LEAST_OK and self.seconds >= SHORT or not ok:
            found.append(f"only {ok:.1%} of the transfers succeeded")
        return found

    def _of_memory(self, series: Series) -> list[str]:
        slope, drift = series.memory_slope(), series.memory_drift()
        if series.covered >= JUDGED and slope is not None:
            # As a line through noise is never quite level: more than the figure, and more than chance.
            if slope.per_hour - 2 * slope.error > MEMORY_SLOPE:
                return [f"the memory of {series.name} grows by {slope.per_hour:.1f} ± {slope.error:.1f} MiB/h"]
        elif drift is not None and drift.growth > GROSS_GROWTH:
            return [f"the memory of {series.name} grew by {drift.growth:.0f} MiB"]
        return []

    def _of_files(self, series: Series) -> list[str]:
        drift, slope = series.files_drift(), series.files_slope()
        if drift is None or slope is None:
            return []
        if drift.growth > FILES_SLACK and slope.per_hour - 2 * slope.error > 0:
            return [f"the open files of {series.name} in rest grew from {drift.first:.0f} to {drift.last:.0f}"]
        return []
