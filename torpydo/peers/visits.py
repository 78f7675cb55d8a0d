"""Whom to dial next (docs/protocol-peers, Visits): those who were never met, those who are known, and now and then
those who were lost and those that one began with. The last two are what heals a network that was in parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Self

import attrs

from torpydo.errors import OnionNameError
from torpydo.onion import OnionName
from torpydo.peers.presence import PORT
from torpydo.peers.table import Table

__all__ = ["ALONE", "Address", "Visits"]

HINTS: Final = 200
"""Names that are remembered to begin with."""
FIRST_REST: Final = 30.0
LAST_REST: Final = 600.0
"""Seconds until somebody is visited again: doubled each time, for who is new has heard of few as well."""
FIRST_PAUSE: Final = 60.0
LAST_PAUSE: Final = 2 * 3600.0
"""Seconds until another try after failures in a row: doubled each time, and a quarter more or less."""
ALONE: Final = 1200.0
"""Seconds in which all visits have failed, after which it may be this side that is not reached: twice the rest of one
that is there, who is dialled again before that even if he is the only one ..."""
ALONE_PAUSE: Final = 900.0
"""... and seconds until another try then."""


@attrs.frozen
class Address:
    """Where a peer is dialled."""

    name: OnionName
    port: int = PORT

    @classmethod
    def parse(cls, text: str, port: int = PORT) -> Self:
        """Read ``NAME.torpydo`` or ``NAME.torpydo:PORT``.

        :raises OnionNameError: if it is none, with the reason
        """
        host, colon, digits = text.partition(":")
        if colon:
            if not (digits.isascii() and digits.isdecimal() and len(digits) <= 5 and 1 <= int(digits) <= 65535):
                raise OnionNameError("the port behind an onion service's name is a number from 1 to 65535")
            port = int(digits)
        return cls(OnionName.parse(host), port)

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


@attrs.define(eq=False)
class _Pause:
    since: float
    until: float
    failures: int
    visits: int = 0


class Visits:
    """Chooses whom to dial, and remembers when it may be dialled again.

    :param clock: seconds that never go back
    :param randbelow: a uniform integer below its argument
    :param alone: seconds of failures alone after which this side may be cut off
    """

    def __init__(
        self,
        table: Table,
        *,
        clock: Callable[[], float],
        randbelow: Callable[[int], int],
        alone: float = ALONE,
    ) -> None:
        self._table = table
        self._alone = alone
        self._clock = clock
        self._randbelow = randbelow
        self._hints: dict[bytes, Address] = {}
        self._from_others: dict[bytes, None] = {}
        self._pauses: dict[bytes, _Pause] = {}
        self._failing_since: float | None = None

    def hint(self, addresses: Iterable[Address], *, by_others: bool = False) -> None:
        """Remember names that may be peers. They are dialled, and named to nobody.

        :param by_others: they do not take the place of those that the application has given
        """
        for address in addresses:
            key = address.name.key.raw
            if key == self._table.own or (by_others and key in self._hints and key not in self._from_others):
                continue
            for known in (self._hints, self._from_others):
                known.pop(key, None)
            self._hints[key] = address
            if by_others:
                self._from_others[key] = None
            if len(self._hints) > HINTS:
                oldest = next(iter(self._from_others or self._hints))
                del self._hints[oldest]
                self._from_others.pop(oldest, None)

    def choose(self, count: int, busy: Iterable[OnionName] = (), *, news: bool = False) -> list[Address]:
        """So many to dial now, fewer if there are no more.

        :param busy: who is being dialled already
        :param news: there is something to tell, for which those who rest may be disturbed
        """
        if count <= 0:
            return []
        table, not_now = self._table, self._left_alone(news) | {name.key.raw for name in busy}
        strange, met, lost = table.strange(not_now), table.met(not_now), table.lost(not_now)
        hints = [key for key in self._hints if key not in not_now and key not in table]
        # Of eight four are new, two known, one lost, and one is of the beginning; of an empty group it is the next one.
        groups = [strange, strange, strange, strange, met, met, lost, hints]
        chosen: list[Address] = []
        while len(chosen) < count and any(groups):
            first = self._randbelow(len(groups))
            group = next(one for one in groups[first:] + groups[:first] if one)
            key = group.pop(self._randbelow(len(group)))
            chosen.append(Address(*table.place(key)) if key in table else self._hints[key])
        return chosen

    @property
    def is_alone(self) -> bool:
        """Whether nobody was reached for so long that this side may be cut off."""
        return self._failing_since is not None and self._clock() - self._failing_since >= self._alone

    def _left_alone(self, news: bool = False) -> set[bytes]:
        """The keys of those who are not to be dialled now."""
        now, pauses = self._clock(), self._pauses.items()
        failed = {key for key, pause in pauses if pause.failures and pause.until > now}
        if self.is_alone:
            failed = {key for key in failed if self._pauses[key].since + ALONE_PAUSE > now}
        rest = set() if news else {key for key, pause in pauses if not pause.failures and pause.until > now}
        return failed | rest | self._table.sources.ignored()

    @property
    def has_strangers(self) -> bool:
        """Whether somebody is known who was not met, and may be dialled now."""
        return bool(self._table.strange(self._left_alone()))

    def succeeded(self, name: OnionName) -> None:
        """It was visited."""
        now = self._clock()
        before = self._pauses.get(name.key.raw)
        visits = 0 if before is None else before.visits
        rest = min(LAST_REST, FIRST_REST * 2 ** min(visits, 10))
        if self.is_alone:
            # Those who were not reached may have been there all the time.
            self._pauses = {key: pause for key, pause in self._pauses.items() if not pause.failures}
        self._failing_since = None
        self._pauses[name.key.raw] = _Pause(now, now + rest, 0, visits + 1)

    def failed(self, name: OnionName) -> None:
        """It could not be reached, or said what it must not."""
        key, now = name.key.raw, self._clock()
        if self._failing_since is None:
            self._failing_since = now
        before = self._pauses.get(key)
        failures = 1 if before is None else before.failures + 1
        pause = min(LAST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10))
        pause *= (750 + self._randbelow(501)) / 1000
        self._pauses[key] = _Pause(now, now + pause, failures)

    def forget(self) -> None:
        """Drop what is remembered of those who are gone; to be called now and then."""
        for key in self._pauses.keys() - self._hints.keys() - self._table.keys():
            del self._pauses[key]
