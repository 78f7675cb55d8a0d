"""Memory, descriptors and time of processes over hours, and what they say about growth. No input or output."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import sqrt
from statistics import median

import attrs

__all__ = ["Drift", "Reading", "Series", "Slope", "least_squares"]

HOUR = 3600.0
MEBIBYTE = 1 << 20
START = 300.0
"""Seconds after the start of a process in which it grows to its size."""
GROUP = 60.0
"""Seconds whose samples become one: those of a moment are too much alike to be counted one by one."""


@attrs.frozen
class Reading:
    """A process at one moment.

    :ivar resident: bytes in memory
    :ivar files: open files and sockets
    :ivar worked: seconds of processor time since it began
    """

    resident: int
    files: int
    worked: float


@attrs.frozen
class Slope:
    """A straight line through samples.

    :ivar per_hour: how much more an hour
    :ivar error: its standard error, as far as the samples are independent
    """

    per_hour: float
    error: float


def least_squares(times: Sequence[float], values: Sequence[float]) -> Slope | None:
    """The line through the points with the smallest squares; ``None`` for fewer than three points.

    :param times: in seconds
    """
    count = len(times)
    if count < 3:
        return None
    middle, mean = sum(times) / count, sum(values) / count
    spread = sum((time - middle) ** 2 for time in times)
    if not spread:
        return None
    slope = sum((time - middle) * (value - mean) for time, value in zip(times, values, strict=True)) / spread
    left = sum((value - mean - slope * (time - middle)) ** 2 for time, value in zip(times, values, strict=True))
    return Slope(slope * HOUR, sqrt(left / (count - 2) / spread) * HOUR)


@attrs.frozen
class Drift:
    """What a number that should stay does between the first and the last third of its samples."""

    first: float
    last: float

    @property
    def growth(self) -> float:
        """How much more at the end."""
        return self.last - self.first


class Series:
    """The readings of one process, from its start or restart.

    :param since: when it was started; readings before the steady part are not kept
    """

    def __init__(self, name: str, since: float) -> None:
        self.name = name
        self.since = since
        self.highest = 0
        self.last: Reading | None = None
        self._times = array("d")
        self._resident = array("d")
        self._rest_times = array("d")
        self._rest_files = array("l")
        self._worked: tuple[float, float] | None = None
        self._share = 0.0

    def add(self, now: float, reading: Reading, *, steady: bool, resting: bool, links: int = 0) -> None:
        """One more.

        :param steady: whether it belongs to the part from which slopes are taken; the start of a process never does
        :param resting: whether no transfer was open
        :param links: files among the open ones that are links of a node, which come and go with its neighbours
        """
        self.last = reading
        self.highest = max(self.highest, reading.resident)
        if self._worked is None:
            self._worked = now, reading.worked
        elif now > self._worked[0]:
            self._share = (reading.worked - self._worked[1]) / (now - self._worked[0])
        if steady and now - self.since >= START:
            self._times.append(now)
            self._resident.append(reading.resident / MEBIBYTE)
            if resting:
                self._rest_times.append(now)
                self._rest_files.append(reading.files - links)

    @property
    def share(self) -> float:
        """Of one processor, on average."""
        return self._share

    @property
    def covered(self) -> float:
        """Seconds of the steady part that there are readings of."""
        return self._times[-1] - self._times[0] if self._times else 0.0

    def memory_slope(self) -> Slope | None:
        """MiB an hour, through the medians of each minute (of each reading in short runs)."""
        if self.covered < 10 * GROUP:
            return least_squares(self._times, self._resident)
        groups: dict[int, list[int]] = {}
        for place, time in enumerate(self._times):
            groups.setdefault(int(time // GROUP), []).append(place)
        times = [sum(self._times[place] for place in places) / len(places) for places in groups.values()]
        return least_squares(times, [median(self._resident[place] for place in places) for places in groups.values()])

    def memory_drift(self) -> Drift | None:
        """MiB, between the thirds."""
        return _thirds(self._resident)

    def files_slope(self) -> Slope | None:
        """Open files an hour, in rest."""
        return least_squares(self._rest_times, self._rest_files)

    def files_drift(self) -> Drift | None:
        """Open files in rest, between the thirds."""
        return _thirds(self._rest_files)


def _thirds(values: Sequence[float]) -> Drift | None:
    third = len(values) // 3
    return Drift(median(values[:third]), median(values[-third:])) if third else None
