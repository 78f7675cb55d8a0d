"""How long a run is, and what follows from that."""

from __future__ import annotations

import re

import attrs

from tests.soak.bed import Scale

__all__ = ["Plan", "seconds_in"]

_TIME = re.compile(r"([0-9]{1,6})([smh]?)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
FULL = 1800.0
"""Seconds from which on the faults have their full size."""
ALL_FAULTS = 600.0
"""Seconds from which on all faults are run by default, as far as there is time."""


def seconds_in(text: str) -> float:
    """Read ``20s``, ``10m``, ``1h``.

    :raises ValueError: if it is none of these
    """
    match = _TIME.fullmatch(text)
    if match is None or not int(match[1]):
        raise ValueError(f"{text!r} is no time such as 20s, 10m or 1h")
    return float(int(match[1]) * _SECONDS[match[2]])


@attrs.frozen
class Plan:
    """Of a run that has traffic and faults for so many seconds."""

    seconds: float

    @property
    def is_full(self) -> bool:
        """Whether the faults have their full size, and there is time for all of them."""
        return self.seconds >= FULL

    @property
    def warm_up(self) -> float:
        """Seconds of traffic before the first fault."""
        return min(180.0, self.seconds * 0.1)

    @property
    def fault_time(self) -> float:
        """Seconds in which faults may begin; what comes after is steady."""
        return self.seconds * (0.5 if self.seconds <= 3600 else 0.25)

    @property
    def settle(self) -> float:
        """Seconds of traffic after the last fault until the steady part begins."""
        return min(300.0, self.seconds / 12)

    @property
    def restart_every(self) -> float:
        """Seconds of traffic between two restarts of nodes: a minute, and in short runs so that there are some."""
        return min(60.0, max(2.0, self.seconds / 6))

    @property
    def disturb_every(self) -> float:
        """Seconds of traffic between two smaller disturbances."""
        return min(100.0, self.seconds / 4)

    @property
    def rest_every(self) -> float:
        """Seconds of traffic between two rests."""
        return min(120.0, max(60.0, self.seconds / 30))

    @property
    def sample_every(self) -> float:
        """Seconds between two looks at all processes."""
        return min(10.0, max(1.0, self.seconds / 30))

    @property
    def scale(self) -> Scale:
        """Of the faults."""
        part = min(1.0, self.seconds / FULL)
        # More than a number of 32 bits can count, from an hour on.
        gigabytes = 10.0 if self.seconds >= 4 * 3600 else 5.0 if self.seconds >= 3600 else min(2.0, self.seconds / 1800)
        return Scale(part, self.is_full, gigabytes)

    @property
    def faults(self) -> str:
        """The faults that are run if nobody chooses."""
        return "all" if self.seconds >= ALL_FAULTS else "quick"
