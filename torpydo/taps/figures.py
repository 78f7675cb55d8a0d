"""What ``--metrics`` tells of a node, a pool, a client or an onion service: names, words and values.

Nothing here names a person, an address or a destination: labels are causes of refusals, which are names in our code,
and pools, which are numbers in the order of ``--pool`` (SECURITY I3). What people do through the process has a step:
it is rounded down to a multiple of that, and told only when it is old. Knows nothing of how it is written or served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["COUNT_STEP", "SIZE_STEP", "Delayed", "Figure", "count", "gauge", "numbered", "refused"]

COUNT_STEP: Final = 8
"""Links, circuits and streams are told in multiples of this (tor's statistics use the same)."""
SIZE_STEP: Final = 1024 * 1024
"""Bytes are told in multiples of this."""
DELAY: Final = 600.0
"""Seconds between two snapshots of what has a step; the one before the last is told, so its age is one to two of
them."""


@attrs.frozen
class Figure:
    """One name with its value, or with a value for each label.

    :ivar name: without ``torpydo_`` in front of it
    :ivar words: what it is, for people
    :ivar value: a number, or numbers by what the label says
    :ivar label: the name of the label
    :ivar counts: whether it only ever grows, until the process ends
    :ivar step: ``None``: told as it is now; otherwise rounded down to a multiple, and told when it is old
    """

    name: str
    words: str
    value: float | Mapping[str, float]
    label: str = ""
    counts: bool = False
    step: int | None = None

    def rounded(self) -> Figure:
        """The same with every value rounded down to a multiple of the step."""
        step = self.step
        if step is None:
            return self
        if isinstance(self.value, Mapping):
            return attrs.evolve(self, value={name: value // step * step for name, value in self.value.items()})
        return attrs.evolve(self, value=self.value // step * step)


def gauge(name: str, words: str, value: float, *, step: int | None = None) -> Figure:
    """Something that rises and falls."""
    return Figure(name, words, value, step=step)


def count(name: str, words: str, value: float, *, step: int | None = None) -> Figure:
    """Something that has happened so often."""
    return Figure(name, words, value, counts=True, step=step)


def numbered(name: str, words: str, values: Iterable[float | None]) -> Figure:
    """A value for each pool, in the order of ``--pool``; one that has none is left out."""
    known = {str(place): value for place, value in enumerate(values, 1) if value is not None}
    return Figure(name, words, known, label="pool")


def refused(*counts: Mapping[str, int]) -> Figure:
    """Refusals by cause, those that never happened included; what several parts count under one name is added up."""
    total: dict[str, float] = {}
    for one in counts:
        for cause, number in one.items():
            total[cause] = total.get(cause, 0) + number
    return Figure("refused", "What was refused, by cause.", total, label="cause", counts=True)


class Delayed:
    """Takes figures now and then, and gives those that are old enough (SECURITY I3).

    :param take: the figures at this moment; those without a step are not kept
    """

    log = Logger()

    def __init__(self, reactor: Any, take: Callable[[], Iterable[Figure]]) -> None:
        self._reactor = reactor
        self._take = take
        self._told: list[Figure] = []
        self._last: list[Figure] = []
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Begin; for the first ten minutes there are no figures."""
        self._look()

    def stop(self) -> None:
        """End. Twice does no harm."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._told, self._last = [], []

    @property
    def figures(self) -> list[Figure]:
        """Rounded, and 10 to 20 minutes old."""
        return self._told

    def _look(self) -> None:
        # No LoopingCall: after a look that was late, its next one comes too early.
        self._timer = self._reactor.callLater(DELAY, self._look)
        self._told, self._last = self._last, []
        maybeDeferred(self._take).addCallback(self._keep).addErrback(self._broke)

    def _keep(self, figures: Iterable[Figure]) -> None:
        self._last = [figure.rounded() for figure in figures if figure.step is not None]

    def _broke(self, failure: Failure) -> None:
        self.log.failure("the figures for --metrics could not be taken, and are taken again later", failure)
