"""What processes have in memory while something goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

from twisted.internet.task import LoopingCall

from tests.soak.processes import read_process
from tests.soak.samples import MEBIBYTE

__all__ = ["grown", "watched"]

EVERY = 0.1
"""Seconds between two looks."""


@contextmanager
def watched(reactor: Any, pids: Mapping[str, int]) -> Iterator[Mapping[str, list[float]]]:
    """Look at processes while the block runs.

    :returns: MiB, one after the other, of each; a process that is gone has no more
    """
    samples: dict[str, list[float]] = {name: [] for name in pids}

    def look() -> None:
        for name, pid in pids.items():
            reading = read_process(pid)
            if reading is not None:
                samples[name].append(reading.resident / MEBIBYTE)

    looking = LoopingCall(look)
    looking.clock = reactor
    looking.start(EVERY)
    try:
        yield samples
    finally:
        looking.stop()
        look()


def grown(samples: Mapping[str, Sequence[float]]) -> tuple[float, str]:
    """The largest growth between the first and the last third of the looks, and whose it is.

    :param samples: of each process, not one without any
    :raises ValueError: if one was not looked at often enough
    """
    found = []
    for name, values in samples.items():
        third = len(values) // 3
        if not third:
            raise ValueError(f"{name} was looked at {len(values)} times, and its memory is not known")
        found.append((median(values[-third:]) - median(values[:third]), name))
    return max(found)
