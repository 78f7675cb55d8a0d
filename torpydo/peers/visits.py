"""Whom to dial next (docs/protocol-peers, Visits): those who were never met, those who are known, and now and then
those who were lost and those that one began with. The last two are what heals a network that was in parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Self

import attrs

from torpydo.errors import OnionNameError
from torpydo.onion import OnionName
from torpydo.peers.entries import State, Verified
from torpydo.peers.presence import PORT
from torpydo.peers.table import Table

__all__ = ["Address", "Visits"]

HINTS: Final = 200
"""Names that are remembered to begin with."""
FIRST_REST: Final = 30.0
LAST_REST: Final = 600.0
"""Seconds until somebody is visited again: doubled each time, for who is new has heard of few as well."""
FIRST_PAUSE: Final = 60.0
LAST_PAUSE: Final = 2 * 3600.0
"""Seconds until another try after failures in a row: doubled each time, and a quarter more or less."""


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
    until: float
    failures: int
    visits: int = 0


class Visits:
    """Chooses whom to dial, and remembers when it may be dialled again.

    :param clock: seconds that never go back
    :param randbelow: a uniform integer below its argument
    """

    def __init__(self, table: Table, *, clock: Callable[[], float], randbelow: Callable[[int], int]) -> None:
        self._table = table
        self._clock = clock
        self._randbelow = randbelow
        self._hints: dict[bytes, Address] = {}
        self._pauses: dict[bytes, _Pause] = {}

    def hint(self, addresses: Iterable[Address]) -> None:
        """Remember names that may be peers. They are dialled, and named to nobody."""
        for address in addresses:
            if address.name.key.raw != self._table.own:
                self._hints.pop(address.name.key.raw, None)
                self._hints[address.name.key.raw] = address
                if len(self._hints) > HINTS:
                    del self._hints[next(iter(self._hints))]

    def choose(self, count: int, busy: Iterable[OnionName] = (), *, news: bool = False) -> list[Address]:
        """So many to dial now, fewer if there are no more.

        :param busy: who is being dialled already
        :param news: there is something to tell, for which those who rest may be disturbed
        """
        now, not_now = self._clock(), {name.key.raw for name in busy}
        not_now |= {key for key, pause in self._pauses.items() if pause.until > now and (pause.failures or not news)}
        strange: list[tuple[OnionName, int]] = []
        met: list[tuple[OnionName, int]] = []
        lost: list[tuple[OnionName, int]] = []
        for name, port, state, verified in self._table.places():
            key = name.key.raw
            if key not in not_now and not self._table.sources.is_ignored(key):
                is_met = verified is Verified.DIRECTLY
                (lost if state is State.OFFLINE else met if is_met else strange).append((name, port))
        known = self._table
        hints = [(one.name, one.port) for key, one in self._hints.items() if key not in not_now and key not in known]
        # Of eight four are new, two known, one lost, and one is of the beginning; of an empty group it is the next one.
        groups = [strange, strange, strange, strange, met, met, lost, hints]
        chosen: list[Address] = []
        while len(chosen) < count and any(groups):
            first = self._randbelow(len(groups))
            group = next(one for one in groups[first:] + groups[:first] if one)
            chosen.append(Address(*group.pop(self._randbelow(len(group)))))
        return chosen

    @property
    def has_strangers(self) -> bool:
        """Whether somebody is known who was not met, and may be dialled now."""
        now = self._clock()
        return any(
            state is State.ONLINE and verified is Verified.BY_SIGNATURE
            for name, _, state, verified in self._table.places()
            if (pause := self._pauses.get(name.key.raw)) is None or pause.until <= now
        )

    def succeeded(self, name: OnionName) -> None:
        """It was visited."""
        before = self._pauses.get(name.key.raw)
        visits = 0 if before is None else before.visits
        rest = min(LAST_REST, FIRST_REST * 2 ** min(visits, 10))
        self._pauses[name.key.raw] = _Pause(self._clock() + rest, 0, visits + 1)

    def failed(self, name: OnionName) -> None:
        """It could not be reached, or said what it must not."""
        key = name.key.raw
        before = self._pauses.get(key)
        failures = 1 if before is None else before.failures + 1
        pause = min(LAST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10))
        pause *= (750 + self._randbelow(501)) / 1000
        self._pauses[key] = _Pause(self._clock() + pause, failures)

    def forget(self) -> None:
        """Drop what is remembered of those who are gone; to be called now and then."""
        for key in [key for key in self._pauses if key not in self._hints and key not in self._table]:
            del self._pauses[key]
