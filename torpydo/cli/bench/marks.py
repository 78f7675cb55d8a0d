"""How a transfer went: how many bytes had come at which moments, and the rates between them. No input or output."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import attrs

from torpydo.cli.constants import MEGABYTE

__all__ = ["Marks", "percentile"]

STEP = 0.02
"""Seconds between two marks at the least, so that a long transfer keeps few of them."""


@attrs.define(eq=False)
class Marks:
    """The course of one transfer, or of several together.

    :param start: the moment that counts as its beginning
    """

    start: float
    times: list[float] = attrs.field(factory=list)
    totals: list[int] = attrs.field(factory=list)

    def add(self, count: int, now: float) -> None:
        """*count* more bytes had come at *now*."""
        total = self.total + count
        if len(self.times) > 1 and now - self.times[-2] < STEP:
            self.times[-1], self.totals[-1] = now, total
        else:
            self.times.append(now)
            self.totals.append(total)

    @property
    def total(self) -> int:
        """All bytes that came."""
        return self.totals[-1] if self.totals else 0

    @property
    def end(self) -> float:
        """The last moment at which anything came."""
        return self.times[-1] if self.times else self.start

    def bytes_until(self, moment: float) -> float:
        """How much had come at *moment*; between two marks it came evenly."""
        place = bisect_right(self.times, moment)
        before_time, before = (self.times[place - 1], self.totals[place - 1]) if place else (self.start, 0)
        if place == len(self.times) or moment <= before_time:
            return float(before)
        share = (moment - before_time) / (self.times[place] - before_time)
        return before + share * (self.totals[place] - before)

    def rate(self, first: float, last: float) -> float:
        """MB/s between two moments, given in seconds after the start."""
        count = self.bytes_until(self.start + last) - self.bytes_until(self.start + first)
        return count / MEGABYTE / max(last - first, 1e-9)

    def overall(self, seconds: float, size: int) -> float:
        """MB/s of a transfer that was to go on for *seconds* or until *size* bytes had come."""
        return self.rate(0.0, self._duration(seconds, size))

    def each_second(self, seconds: float, size: int) -> list[float]:
        """MB/s in each whole second of such a transfer; those in which nothing came count."""
        return [self.rate(second, second + 1) for second in range(int(self._duration(seconds, size)))]

    def _duration(self, seconds: float, size: int) -> float:
        return self.end - self.start if self.total >= size else seconds


def percentile(values: Sequence[float], share: float) -> float:
    """The value that *share* of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
